"""What users test their own application with."""
