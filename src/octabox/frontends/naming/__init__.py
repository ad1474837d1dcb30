"""Request fields that several protocols share."""
