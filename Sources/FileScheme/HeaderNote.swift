import DiskFormat
import Platform
import RedoxFS
import SchemeKit

/// Where the newest header of the file system lies, in memory that outlives the process: the next one opens the file system without
/// searching for it.
///
///      0  UUID     16  the block where the file system begins, u64     24  generation u64, 0 until the rest is there
///
/// It may be a few commits old: what came after is found from there.
public final class HeaderNote: Sendable {
    /// Bytes of memory.
    public static let byteCount = 4096
    private static let startOffset = 16
    private static let generationOffset = 24
    private let memory: SharedMapping

    /// A note in memory that an incarnation before may have written; it is zeros if not.
    public init(_ memory: SharedMapping) { self.memory = memory }

    /// What was noted last.
    public var place: HeaderPlace? {
        let generation = memory.load64Acquiring(Self.generationOffset)
        guard generation != 0 else { return nil }
        let uuid = Bytes16(low: memory.load64(0), high: memory.load64(8))
        return HeaderPlace(
            uuid: uuid, start: memory.load64(Self.startOffset), generation: Generation(generation))
    }

    /// Notes where the newest header is.
    public func write(_ place: HeaderPlace) {
        guard place != self.place else { return }
        memory.store64(0, place.uuid.low)
        memory.store64(8, place.uuid.high)
        memory.store64(Self.startOffset, place.start)
        memory.store64Releasing(Self.generationOffset, place.generation.rawValue)
    }
}
