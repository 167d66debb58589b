# Dark Energy Camera: pixels of 15 um, about 4 electrons per adu.
# What the images say themselves comes first.
config.reading.gain = 4.0
config.reading.pixelSize = 0.015
config.finders["morphological"].nCrPixelMax = 1000000
