# Hyper Suprime-Cam: pixels of 15 um, about 3 electrons per adu.
config.reading.gain = 3.0
config.reading.pixelSize = 0.015
