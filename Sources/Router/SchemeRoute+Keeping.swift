import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

// Files that the router itself keeps open (`StaleCallers`). In the table of open files they are told from others by O_PATH, a flag that the
// kernel never opens with.

extension SchemeRoute {
    /// O_PATH of open(2), for reading.
    private static let keptFlags: UInt32 = 0o1000_0000
    /// How long a file is kept at least that nobody asks for, in nanoseconds.
    private static let keptSpan: UInt64 = 1_000_000_000

    /// Keeps a node open.
    ///
    /// - Returns: the router's own handle, nil if the node can't be kept.
    /// - Throws: ENOENT or ESTALE if it is gone.
    public func keepOpen(_ node: UInt64) throws(Errno) -> UInt64? {
        let flags = Self.keptFlags
        guard let handle = try? reserveHandle(node: node, flags: flags) else { return nil }
        do throws(Errno) {
            let entry = SubmissionEntry(.open, node: node, handle: handle)
            try perform(Call(entry, RequestArguments(flags: flags))) { _ in }
            return handle
        } catch {
            didNotOpen(handle)
            guard error == .noSuchFileOrDirectory || error == .staleNFSFileHandle else { return nil }
            throw error
        }
    }

    /// Closes what was kept for some seconds, also what a dead router kept: what is seen for the first time has some time left. Doesn't
    /// wait for the server, whose recovery may be the affair of the thread.
    func closeKept() {
        let now = Clock.monotonicNanoseconds()
        let files = keptFiles
        let due = keptSince.withLock { since -> [HandleTable.Record] in
            since = since.filter { entry in files.contains { $0.handle == entry.key } }
            return files.filter { file in
                guard let start = since[file.handle] else {
                    since[file.handle] = now
                    return false
                }
                return start <= now && now - start > Self.keptSpan
            }
        }
        for file in due where submitClose(node: file.node, handle: file.handle) {
            // It stands in the table until the server has answered: not to be closed twice.
            keptSince.withLock { $0[file.handle] = .max }
        }
    }

    /// Closes all that is kept, and waits for that: the mount ends.
    public func closeAllKept() {
        for file in keptFiles {
            try? perform(Call(SubmissionEntry(.close, node: file.node, handle: file.handle))) { _ in }
        }
    }

    private var keptFiles: [HandleTable.Record] {
        handles.records().filter { $0.flags == Self.keptFlags && $0.closedBy == 0 }
    }

    /// False if it can't be closed now: the server is away, or there is no room. `closeKept` does it later.
    @discardableResult
    func submitClose(node: UInt64, handle: UInt64) -> Bool {
        guard availability.load(ordering: .relaxed) == .available, incarnation.load(ordering: .relaxed) != 0,
            let slot = client.reserve(important: true)
        else { return false }
        client.submit(slot, SubmissionEntry(.close, node: node, handle: handle))
        return true
    }
}
