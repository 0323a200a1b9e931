import Glibc
import Synchronization

/// What a session must find again after its process died, in memory that outlives it.
///
///     0     magic "SBFUSE01" (written last)
///     8     byte count of the INIT request, 0 if none was read yet
///     12    1 once the reply to INIT has been written
///     16    the INIT request as the kernel sent it, up to 1024 bytes
@safe
public final class FuseSessionState: @unchecked Sendable {
    /// Bytes of memory that a state takes.
    public static let byteCount = 4096
    private static let magic: UInt64 = 0x3130_4553_5546_4253
    private static let requestOffset = 16
    private static let requestLimit = 1024

    private let base: UnsafeMutableRawPointer
    /// Keeps the memory's owner alive.
    private let owner: AnyObject?

    /// State over zeroed memory, or over what an earlier session wrote there.
    ///
    /// - Parameters:
    ///   - memory: at least `byteCount` bytes, 8-byte aligned.
    ///   - owner: kept alive as long as the state.
    @unsafe
    public init?(memory: UnsafeMutableRawBufferPointer, owner: AnyObject? = nil) {
        guard let base = memory.baseAddress, memory.count >= Self.byteCount else { return nil }
        unsafe self.base = unsafe base
        self.owner = owner
    }

    /// The INIT request that the kernel sent when the mount was made.
    var initialization: [UInt8]? {
        guard unsafe base.load(as: UInt64.self) == Self.magic else { return nil }
        let count = unsafe Int(base.load(fromByteOffset: 8, as: UInt32.self))
        guard (1...Self.requestLimit).contains(count) else { return nil }
        return unsafe [UInt8](UnsafeRawBufferPointer(start: base + Self.requestOffset, count: count))
    }

    /// Whether INIT was answered.
    public var isInitialized: Bool {
        unsafe base.load(fromByteOffset: 12, as: UInt32.self) == 1
    }

    /// Keeps the request. The process can die at any instruction: the magic makes it valid at once.
    func store(initialization request: UnsafeRawBufferPointer) {
        guard request.count <= Self.requestLimit else { return }
        unsafe (base + Self.requestOffset).copyMemory(
            from: request.baseAddress ?? UnsafeRawPointer(base), byteCount: request.count)
        unsafe base.storeBytes(of: UInt32(request.count), toByteOffset: 8, as: UInt32.self)
        unsafe base.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self)
        atomicMemoryFence(ordering: .releasing)
        unsafe base.storeBytes(of: Self.magic, as: UInt64.self)
    }

    /// INIT's reply has been written.
    func markInitialized() {
        unsafe base.storeBytes(of: 1, toByteOffset: 12, as: UInt32.self)
    }
}
