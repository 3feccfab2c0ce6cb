[inputs: ["lib/**/*.ex"], line_length: 140]
