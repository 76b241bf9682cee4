"""What is supervised and who supervises: regions, organisations, people and rights, points, devices, permits."""
