import BlockCodec
import BlockDevice
import DiskFormat
import SystemPackage

/// Why an operation of the file system failed. `errno` is the one place where errors become numbers of the system.
public enum FileSystemError: Error, Equatable, Sendable {
    /// The name or the node doesn't exist.
    case notFound
    /// The name exists already.
    case exists
    /// The node is not a directory.
    case notDirectory
    /// The node is a directory.
    case isDirectory
    /// The directory has entries.
    case notEmpty
    /// The name has more than 252 bytes.
    case nameTooLong
    /// The name is empty, contains a slash or a NUL, is "." or "..", or isn't UTF-8.
    case invalidName
    /// A parameter makes no sense.
    case invalidArgument(String)
    /// There is no room, not even after waiting for a commit.
    case noSpace
    /// The position or size is beyond what the format can hold.
    case fileTooLarge
    /// The node has as many names as can be counted.
    case tooManyLinks
    /// The extended attribute doesn't exist.
    case noAttribute
    /// The extended attribute exists already.
    case attributeExists
    /// The extended attribute's value or the sum of all is too large.
    case attributeTooLarge
    /// There is no data behind the position (seek).
    case noData
    /// The operation isn't possible on this kind of node.
    case notPermitted
    /// The operation isn't supported.
    case notSupported
    /// The file system was opened for reading only.
    case readOnly
    /// The file system was closed.
    case closed
    /// The device failed.
    case device(BlockDeviceError)
    /// A structure on disk breaks a rule of the format; `block` is its block number.
    case corrupt(FormatError, block: UInt64)
    /// No header of a RedoxFS was found.
    case noFileSystem
    /// There is no header of the wanted generation; the oldest and the newest that there are.
    case noGeneration(Generation, oldest: Generation, newest: Generation)
    /// The file system is encrypted and no password was given, or no key slot accepts it.
    case wrongPassword
    /// A password was given for a file system that isn't encrypted.
    case notEncrypted
    /// The device is too small.
    case tooSmall(minimumByteCount: UInt64)
    /// The encryption failed.
    case cipher(String)
    /// Threads can't be started.
    case system(Errno)

    /// The system's number for the error.
    public var errno: Errno {
        switch self {
        case .notFound: .noSuchFileOrDirectory
        case .exists, .attributeExists: .fileExists
        case .notDirectory: .notDirectory
        case .isDirectory: .isDirectory
        case .notEmpty: .directoryNotEmpty
        case .nameTooLong: .fileNameTooLong
        case .invalidName, .invalidArgument: .invalidArgument
        case .noSpace: .noSpace
        case .fileTooLarge: .fileTooLarge
        case .tooManyLinks: .tooManyLinks
        case .noAttribute: .noData
        case .attributeTooLarge: .argListTooLong
        case .noData: .noSuchAddressOrDevice
        case .notPermitted: .notPermitted
        case .notSupported: .notSupported
        case .readOnly: .readOnlyFileSystem
        case .closed: .badFileDescriptor
        case .device(let error): error.errno == .noSpace ? .ioError : error.errno
        case .corrupt: .ioError
        case .noFileSystem, .noGeneration: .invalidArgument
        case .wrongPassword: .permissionDenied
        case .notEncrypted: .invalidArgument
        case .tooSmall: .noSpace
        case .cipher: .ioError
        case .system(let code): code
        }
    }
}

extension FileSystemError: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        switch self {
        case .notFound: "no such file or directory"
        case .exists: "the name exists already"
        case .notDirectory: "not a directory"
        case .isDirectory: "is a directory"
        case .notEmpty: "the directory is not empty"
        case .nameTooLong: "the name is longer than 252 bytes"
        case .invalidName: "the name is not allowed"
        case .invalidArgument(let what): "invalid argument: \(what)"
        case .noSpace: "no space left"
        case .fileTooLarge: "the file would be larger than the format can hold"
        case .tooManyLinks: "too many links"
        case .noAttribute: "no such attribute"
        case .attributeExists: "the attribute exists already"
        case .attributeTooLarge: "the attribute is too large"
        case .noData: "no data behind this position"
        case .notPermitted: "not possible for this kind of file"
        case .notSupported: "not supported"
        case .readOnly: "the file system is read-only"
        case .closed: "the file system is closed"
        case .device(let error): "\(error)"
        case .corrupt(let error, let block): "block \(block): \(error)"
        case .noFileSystem: "no RedoxFS found"
        case .noGeneration(let wanted, let oldest, let newest):
            "there is no header of generation \(wanted) (there: \(oldest) to \(newest))"
        case .wrongPassword: "the file system is encrypted and the password is missing or wrong"
        case .notEncrypted: "the file system is not encrypted"
        case .tooSmall(let minimum): "the device is too small: at least \(minimum) bytes are needed"
        case .cipher(let what): "encryption failed: \(what)"
        case .system(let code): "\(code)"
        }
    }
}
