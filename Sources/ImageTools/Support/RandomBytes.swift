import DiskFormat
import Platform
import SystemPackage

/// Random numbers of the kernel, for what the engine wants from outside: ids, salts, keys.
public enum RandomBytes {
    /// Sixteen random bytes.
    public static func sixteen() throws(ToolFailure) -> Bytes16 {
        do throws(Errno) {
            let bytes = try SystemCall.randomBytes(count: 16)
            return Bytes16(bytes) ?? Bytes16()
        } catch {
            throw ToolFailure("the kernel gives no random numbers: \(error)")
        }
    }

    /// A random UUID: version 4, variant 1 (RFC 9562).
    public static func uuid() throws(ToolFailure) -> Bytes16 {
        var bytes = try sixteen().bytes
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return Bytes16(bytes) ?? Bytes16()
    }
}
