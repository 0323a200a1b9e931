import SystemPackage

/// What can go wrong with a device: what was asked for, where, and why not.
public enum BlockDeviceError: Error, Equatable, Sendable {
    /// What was being done.
    public enum Operation: String, Sendable {
        /// Opening the device.
        case open
        /// Reading bytes.
        case read
        /// Writing bytes.
        case write
        /// Waiting until written bytes are on the medium.
        case flush
        /// Giving up the contents of a range.
        case discard
        /// Changing the size.
        case resize
    }

    /// The system reports an error. `offset` and `length` are bytes of the device.
    case io(Errno, offset: UInt64, length: Int, operation: Operation)
    /// The range does not lie inside the device.
    case outOfRange(offset: UInt64, length: UInt64, deviceByteCount: UInt64, operation: Operation)
    /// The device was opened for reading only.
    case readOnly
    /// Another program uses the device; `holder` names it if it can be found.
    case busy(holder: String)
    /// The device cannot do that.
    case unsupported(Operation)
    /// The path cannot be opened.
    case cannotOpen(Errno, path: String)
    /// The path is a directory, a pipe or another thing that keeps no bytes at positions.
    case notADevice(path: String)
    /// What lies there isn't what it should be; the text says why.
    case unusable(String)

    /// The error of the system that says the same.
    public var errno: Errno {
        switch self {
        case .io(let code, _, _, _): code
        case .outOfRange: .invalidArgument
        case .readOnly: .readOnlyFileSystem
        case .busy: .resourceBusy
        case .unsupported: .notSupported
        case .cannotOpen(let code, _): code
        case .notADevice: .notBlockDevice
        case .unusable: .invalidArgument
        }
    }
}

extension BlockDeviceError: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        switch self {
        case .io(let code, _, _, .flush):
            "cannot flush the device: \(code)"
        case .io(let code, let size, _, .resize):
            "cannot change the size to \(size) bytes: \(code)"
        case .io(let code, let offset, let length, let operation):
            "cannot \(operation.rawValue) \(length) bytes at byte \(offset): \(code)"
        case .outOfRange(let offset, let length, let size, let operation):
            "cannot \(operation.rawValue) \(length) bytes at byte \(offset): the device ends at byte \(size)"
        case .readOnly:
            "the device is open for reading only"
        case .busy(let holder):
            "the device is in use by \(holder)"
        case .unsupported(let operation):
            "the device does not support \(operation.rawValue)"
        case .cannotOpen(let code, let path):
            "cannot open \(path): \(code)"
        case .notADevice(let path):
            "\(path) is neither a regular file nor a block device"
        case .unusable(let reason):
            reason
        }
    }
}
