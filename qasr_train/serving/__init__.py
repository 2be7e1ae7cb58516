"""A model behind a port of this machine: uploads by OpenAI's interface, a microphone by a socket, one page for both."""
