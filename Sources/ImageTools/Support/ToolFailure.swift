import BlockDevice
import Platform
import SystemPackage

/// Why a tool could not do what it was asked for: what, where, and what to do about it.
public struct ToolFailure: Error, Sendable, CustomStringConvertible {
    /// What failed and where, one line.
    public var message: String
    /// What can be done about it; nil if there is nothing useful to say.
    public var advice: String?
    /// Whether it concerns one entry only, so that others can still be copied.
    public var concernsOneEntry: Bool
    /// Whether the image is damaged: an older generation may not be.
    public var isCorruption: Bool

    /// A failure.
    public init(
        _ message: String, advice: String? = nil, concernsOneEntry: Bool = false, isCorruption: Bool = false
    ) {
        self.message = message
        self.advice = advice
        self.concernsOneEntry = concernsOneEntry
        self.isCorruption = isCorruption
    }

    /// The message, and the advice in a second line.
    public var description: String {
        guard let advice else { return message }
        return "\(message)\n\(advice)"
    }

    /// A system call failed.
    static func system(
        _ error: Errno, _ doing: String, _ path: [UInt8], concernsOneEntry: Bool = false
    ) -> ToolFailure {
        ToolFailure("cannot \(doing) \(display(path)): \(error)", concernsOneEntry: concernsOneEntry)
    }

    /// A device failed; the error itself says how to go on where that is known.
    public static func device(_ error: BlockDeviceError, path: String) -> ToolFailure {
        var advice: String?
        switch error {
        case .busy: advice = "Unmount it or end that program first."
        case .readOnly: advice = "Open it for writing."
        case .cannotOpen(.permissionDenied, _):
            return ToolFailure(error.description, advice: "Run as a user who may access it.")
        case .cannotOpen, .notADevice: return ToolFailure(error.description)
        default: break
        }
        return ToolFailure("\(path): \(error)", advice: advice)
    }

    /// Bytes of a name for a person: what isn't printable UTF-8 is escaped.
    public static func display(_ bytes: [UInt8]) -> String { String(printable: bytes) }
}
