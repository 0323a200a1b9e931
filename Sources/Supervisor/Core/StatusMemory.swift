import Platform
import SystemPackage

/// What the supervisor tells about itself, in memory that others read: the router shows it in the scheme `sys`.
///
///      0  version u32: odd while the text is being changed
///      4  bytes of the text u32
///      8  the text: JSON
///
/// A reader copies version, length and text, then compares the version again.
final class StatusMemory {
    static let byteCount = 256 << 10

    let descriptor: SharedDescriptor
    private let mapping: SharedMapping
    private var isNeeded = true

    init() throws(Errno) {
        descriptor = SharedDescriptor(try SharedMemory.create(name: "saltbridge-status", byteCount: Self.byteCount))
        mapping = try SharedMapping(descriptor.rawValue, byteCount: Self.byteCount, writable: true)
        try SharedMemory.addSeals(descriptor.rawValue, [.futureWrite, .seal])
    }

    /// Something has changed.
    func invalidate() { isNeeded = true }

    /// Writes the text if something has changed since the last time.
    func publishIfNeeded(_ text: () -> ControlJSON) {
        guard isNeeded else { return }
        isNeeded = false
        let bytes = Array(text().text.utf8)
        guard bytes.count <= Self.byteCount - 8 else { return }
        let version = mapping.load32(0)
        mapping.store32Releasing(0, version | 1)
        SharedMapping.fence()
        mapping.store32(4, UInt32(bytes.count))
        Self.write(bytes, to: mapping)
        mapping.store32Releasing(0, (version | 1) &+ 1)
    }

    private static func write(_ bytes: [UInt8], to memory: SharedMapping) {
        let span = bytes.span
        var target = memory.mutableBytes(8, count: bytes.count)
        target.copyBytes(from: unsafe span.bytes)
    }
}

/// Reads what a supervisor tells about itself.
public enum SupervisorStatus {
    /// The JSON text in the memory of the descriptor `supervisor` that the router gets; nil if it changes all the time.
    public static func read(_ memory: SharedMapping) -> String? {
        for _ in 0..<100 {
            let version = memory.load32Acquiring(0)
            if version & 1 == 1 { continue }
            let count = Int(memory.load32(4))
            guard count <= memory.byteCount - 8 else { return nil }
            let bytes = memory.bytes(8, count: count)
            let copy = unsafe bytes.withUnsafeBytes { unsafe [UInt8]($0) }
            SharedMapping.fence()
            if memory.load32Acquiring(0) == version { return String(decoding: copy, as: UTF8.self) }
        }
        return nil
    }

    /// Bytes of the memory.
    public static let byteCount = StatusMemory.byteCount
}
