import BlockDevice
import SchemeKit

extension OverlayFileDevice {
    /// The overlay that a disk's process was given: descriptor `overlay`.
    ///
    /// What was written and not flushed is in memory that the supervisor holds: the next process finds it.
    ///
    /// - Parameter notes: the name of that memory.
    public static func configured(
        over base: any BlockDevice, _ start: SchemeStart, writable: Bool, notes: String
    ) throws -> OverlayFileDevice {
        let file = try FileDevice(
            adopting: try start.ownedDescriptor("overlay"), name: "the overlay", writable: writable)
        let memory = try SchemeState(start, name: notes, byteCount: UnflushedBlocks.byteCount).memory
        return try OverlayFileDevice(over: base, in: file, unflushed: UnflushedBlocks(memory))
    }
}
