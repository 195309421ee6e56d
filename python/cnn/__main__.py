from cnn.cli import main

main()
