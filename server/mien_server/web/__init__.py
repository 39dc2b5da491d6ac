"""What the server says over HTTPS: the enrolment door, on a port of its own and in a process of its own."""
