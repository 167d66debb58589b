# Repair with a finder of this package, whatever was set for the repair before.
# For calibrateImage, for instance
# pipetask run -C calibrateImage:$MEAS_COSMICRAYS_DIR/config/retargetRepair.py
#     -c calibrateImage:psf_repair.finder.name=astroscrappy
# and so for reprocessVisitImage and others, where the field is `repair`.
from lsst.meas.cosmicrays.repair import retarget_repair

for name in ("psf_repair", "repair"):
    if hasattr(config, name):
        retarget_repair(getattr(config, name))
