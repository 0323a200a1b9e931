// SchemeProtocol
