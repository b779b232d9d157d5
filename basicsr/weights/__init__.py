"""Weights of networks in files: any published layout is read, checked, named and told apart by one stack."""

from basicsr.weights.files import read_file as read_file
from basicsr.weights.files import read_part as read_part
from basicsr.weights.networks import cpu_state as cpu_state
from basicsr.weights.networks import live_state as live_state
from basicsr.weights.networks import load_weights as load_weights
from basicsr.weights.networks import read_entry as read_entry
from basicsr.weights.networks import read_weights as read_weights
from basicsr.weights.networks import save_network as save_network
from basicsr.weights.published import locate_weights as locate_weights
