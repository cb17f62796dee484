"""What puts the steps in a row: Study, its plan, its execution, the harnesses, notebooks run."""
