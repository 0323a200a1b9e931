/// Where entries come from: a directory of the host, an image, an archive.
public protocol TreeSource: AnyObject {
    /// The next entry, a directory before what is in it; nil at the end. Content that wasn't read is left out.
    func next() throws(ToolFailure) -> TreeEntry?

    /// The content of the entry that `next` returned last, piece by piece in rising order: position and bytes.
    func readContent(_ body: (UInt64, RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure)
}

/// Where entries go to.
public protocol TreeSink: AnyObject {
    /// Makes the entry. The content of a regular file follows with `write`, then `end`.
    func begin(_ entry: TreeEntry) throws(ToolFailure)

    /// A piece of content of the file that was begun last.
    func write(at offset: UInt64, _ bytes: RawSpan) throws(ToolFailure)

    /// No more content comes: what wasn't written of the size reads as zeros. Sets what must be set last.
    func end() throws(ToolFailure)

    /// All entries are there: sets what the making of entries has changed, such as times of directories.
    func finish() throws(ToolFailure)
}

/// What was copied.
public struct CopySummary: Sendable {
    /// Entries that were made.
    public var entries = 0
    /// Bytes of content.
    public var bytes: UInt64 = 0
    /// What could not be copied, or not in full.
    public var warnings: [String] = []

    /// Nothing copied yet.
    public init() {}
}

/// Follows a copy as it goes on.
public protocol CopyObserver: AnyObject {
    /// Called often: the entry that is being copied, and what is done.
    func copying(_ path: [UInt8], _ summary: CopySummary)
    /// Called when something cannot be copied, or not in full.
    func warning(_ message: String)
}

/// Copies a tree from one place to another: import, export, clone and mkfs all are this.
public enum TreeCopy {
    /// Copies all entries. What concerns one entry only is a warning; anything else ends the copy.
    public static func run(
        from source: any TreeSource, to sink: any TreeSink, observer: (any CopyObserver)? = nil
    ) throws(ToolFailure) -> CopySummary {
        var summary = CopySummary()
        while true {
            do throws(ToolFailure) {
                guard let entry = try source.next() else { break }
                let path = entry.joinedPath
                observer?.copying(path, summary)
                try sink.begin(entry)
                if entry.kind == .file && entry.hardLink == nil {
                    do throws(ToolFailure) {
                        try source.readContent { (offset, bytes) throws(ToolFailure) in
                            try sink.write(at: offset, bytes)
                            summary.bytes += UInt64(bytes.byteCount)
                            observer?.copying(path, summary)
                        }
                    } catch {
                        // The entry is there already: it gets its full size and its attributes.
                        try warn(error, &summary, observer)
                    }
                }
                try sink.end()
                summary.entries += 1
            } catch {
                try warn(error, &summary, observer)
            }
        }
        do throws(ToolFailure) {
            try sink.finish()
        } catch {
            try warn(error, &summary, observer)
        }
        return summary
    }

    private static func warn(
        _ error: ToolFailure, _ summary: inout CopySummary, _ observer: (any CopyObserver)?
    ) throws(ToolFailure) {
        guard error.concernsOneEntry else { throw error }
        summary.warnings.append(error.message)
        observer?.warning(error.message)
    }
}
