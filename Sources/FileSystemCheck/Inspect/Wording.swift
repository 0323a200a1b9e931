import DiskFormat

extension NodeKind {
    /// The word for it in manifests.
    var word: String {
        switch self {
        case .file: "file"
        case .directory: "dir"
        case .symbolicLink: "symlink"
        case .fifo: "fifo"
        case .socket: "socket"
        case .characterDevice: "char"
        case .blockDevice: "block"
        }
    }
}

/// "1 block", "2 blocks".
func counted<Count: BinaryInteger>(_ count: Count, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
}
