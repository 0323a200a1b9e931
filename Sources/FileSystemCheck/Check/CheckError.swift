import BlockCodec
import BlockDevice
import DiskFormat

/// Why an image can't be checked or repaired at all.
public enum CheckError: Error, Sendable {
    /// There is no header of this format on the device.
    case noFileSystem
    /// The device can't be read or written.
    case device(BlockDeviceError)
    /// A block or header can't be encrypted or decrypted.
    case cipher(CodecError)
    /// The disk is encrypted and there is no password.
    case passwordRequired
    /// No key slot opens with the password.
    case passwordWrong
    /// There is no header of that generation.
    case generationNotFound(Generation, available: [Generation])
    /// That generation can't be read in full any more; the reason names the first loss.
    case generationNotWhole(Generation, reason: String)
    /// Of the generation that would be repaired not a single node can be read, so that a repair would leave an empty file system.
    case nothingReadable(Generation, reason: String)
    /// The device is shorter than the file system, and there is no room in front of its end for what has to be written; sizes in bytes.
    case tooShort(UInt64, needed: UInt64)
    /// There is no room for what has to be written.
    case noSpace(needed: UInt64, available: UInt64)
    /// The repaired file system would have so few free blocks that nothing in it could be changed any more.
    case wouldBeFull(free: UInt64, needed: UInt64)
    /// The device is open for reading only.
    case readOnly
    /// The faults are such that no repair leads to a file system without them; nothing was written.
    case notRepairable(remaining: [Finding])
    /// There is nothing at that path, or it isn't what was asked for.
    case notFound(String)
    /// A structure can't be read.
    case unreadable(String)
}

extension CheckError: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        switch self {
        case .noFileSystem: return "there is no RedoxFS file system"
        case .device(let error): return "\(error)"
        case .cipher(let error): return "\(error)"
        case .passwordRequired: return "the file system is encrypted: a password is needed"
        case .passwordWrong: return "the password opens no key slot"
        case .generationNotFound(let generation, let available):
            let range =
                available.isEmpty
                ? "none" : "\(available.min() ?? generation) to \(available.max() ?? generation)"
            return "there is no header of generation \(generation) (there: \(range))"
        case .generationNotWhole(let generation, let reason):
            return "generation \(generation) can't be read in full any more: \(reason)"
        case .nothingReadable(let generation, let reason):
            return "nothing of generation \(generation) can be read; nothing was written: \(reason)"
        case .tooShort(let present, let needed):
            return
                "no room: the image is shorter than its file system, \(present) of \(needed) bytes; make it \(needed) bytes long "
                + "(truncate -s \(needed) IMAGE) and repair it then; nothing was written"
        case .noSpace(let needed, let available):
            return "no room: \(counted(needed, "block")) needed, \(available) free"
        case .wouldBeFull(let free, let needed):
            return
                "no room: repaired it would have \(free) blocks free, at least \(needed) are needed to change anything; "
                + "nothing was written. A larger file system (resize) has room"
        case .readOnly: return "the image is open for reading only"
        case .notRepairable(let remaining):
            return "can't be repaired; nothing was written. First remaining fault: "
                + (remaining.first.map { "\($0)" } ?? "unknown")
        case .notFound(let what): return "\(what) is not there"
        case .unreadable(let what): return what
        }
    }
}
