"""Search the Hub, describe models there and on disk, and remove them."""
