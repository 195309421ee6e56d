"""What every part of the package uses: checks and their errors, names, the console, small tables for notebooks."""
