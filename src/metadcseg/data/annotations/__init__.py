"""What drawing tools export: COCO, CVAT, Label Studio, LabelMe and VIA, each in a file of its own."""
