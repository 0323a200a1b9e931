import DiskFormat
import Platform

/// What the last commits before the one that was opened have freed: a session that begins goes on to use it last, so that
/// older generations stay readable across sessions, too. Only the logs of those generations are read, and not many.
///
/// Nothing depends on it but which of the free blocks is taken first. Whatever can't be read ends the search.
enum RecentGenerations {
    /// How many blocks of older allocation logs are read at most.
    private static let maximumLogBlocks = 16

    /// Moves what was freed lately out of the state's free space, to where it waits to be the last resort.
    static func restore(_ header: Header, _ source: BlockSource, into state: inout EngineState) {
        var frees: [RecentFrees] = []
        var rest = Space.joined(state.space.index.sortedChunks())
        var later = header
        var blocks = 0
        while blocks < maximumLogBlocks, !rest.isEmpty, let earlier = headerBefore(later, source),
            let log = try? AllocationLog.read(earlier, source, maximumBlocks: maximumLogBlocks - blocks)
        {
            blocks += log.blocks.count
            let (common, freed) = Space.split(rest, by: Space.joined(log.index.sortedChunks()))
            if !freed.isEmpty { frees.append(RecentFrees(generation: later.generation.rawValue, runs: freed)) }
            rest = common
            later = earlier
        }
        state.space.setAside(frees.reversed())
    }

    /// The header of the generation before, of the same file system at the same size; nil if the ring hasn't it any more.
    private static func headerBefore(_ later: Header, _ source: BlockSource) -> Header? {
        guard later.generation.rawValue > 0 else { return nil }
        let generation = Generation(later.generation.rawValue - 1)
        let buffer = source.pool.take(level: 0)
        guard
            (try? source.device.read(
                at: source.start &+ generation.ringBlock &<< 12, into: buffer, 0..<Limits.blockSize)) != nil,
            Header.isValid(buffer.bytes), let header = try? Header(decoding: buffer.bytes),
            header.generation == generation, header.uuid == later.uuid, header.blockCount == later.blockCount
        else { return nil }
        return header
    }
}
