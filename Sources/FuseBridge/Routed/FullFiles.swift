import Platform
import Synchronization

/// Files whose pages couldn't be written back for want of space.
///
/// The kernel takes what an application writes into its pages and asks nobody whether there is room; that there was none it tells only
/// who syncs or closes the file, and `dd` would go on for ever. But before a write it asks for the file's attributes, if it doesn't
/// know them. So when pages of a file couldn't be written back it is told to forget them, and the question is answered with ENOSPC
/// as long as there is no room. What stat(2) and fstat(2) ask comes without an open file's handle, and is answered.
final class FullFiles: Sendable {
    /// So many are remembered at most.
    private static let limit = 1024

    /// The kernel's node numbers, with the bytes that there was no room for.
    private let files = Locked<[UInt64: Int]>([:])
    private let count = Atomic<Int>(0)

    /// Pages of a file couldn't be written back.
    func add(_ node: UInt64, byteCount: Int) {
        change { files in
            // Whichever is forgotten for it: its writer is told at the next failure.
            if files[node] == nil, files.count >= Self.limit, let other = files.keys.first { files[other] = nil }
            files[node] = byteCount
        }
    }

    /// Pages of a file were written back, there is room again, the file has another size, or it is closed.
    func remove(_ node: UInt64) {
        guard count.load(ordering: .relaxed) > 0 else { return }
        change { $0[node] = nil }
    }

    /// How many bytes of a file there was no room for; nil if there was.
    func missing(_ node: UInt64) -> Int? {
        guard count.load(ordering: .relaxed) > 0 else { return nil }
        return files.withLock { $0[node] }
    }

    private func change(_ body: (inout [UInt64: Int]) -> Void) {
        files.withLock { files in
            body(&files)
            count.store(files.count, ordering: .relaxed)
        }
    }
}
