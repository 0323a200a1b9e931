// SchemeTransport
