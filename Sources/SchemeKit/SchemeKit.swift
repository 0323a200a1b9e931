// SchemeKit
