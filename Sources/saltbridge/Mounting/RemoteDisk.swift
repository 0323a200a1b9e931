import BlockDevice
import Glibc
import ImageTools
import NetworkBlockDevice
import Platform
import Supervisor
import SystemPackage

/// The disk scheme of a disk that an NBD server exports.
enum RemoteDisk {
    /// Seconds for which callers wait for a server that is away, and for one answer of a server that is there, unless the
    /// settings `disk.patience` and `disk.answer` say otherwise.
    private static let patience = NBDOptions().patience / 1_000_000_000
    private static let answer = NBDOptions().answerLimit / 1_000_000_000
    private static let program = "scheme-disk-nbd"

    /// The process: it gets sockets to the server's addresses, by way of the supervisor, and nothing else.
    static func member(_ name: String, _ text: String) throws(ToolFailure) -> MemberConfiguration {
        var member = MemberConfiguration(
            name: name, executablePath: try ProgramLocator.require(program), manifest: .remoteDisk)
        do throws(BlockDeviceError) {
            let address = try NBDAddress(text)
            let endpoints = try address.endpoints(from: workingDirectory)
            member.endpoints = endpoints.enumerated().map { ("nbd-\($0.offset)", $0.element) }
            member.settings = [("export", address.export), ("endpoints", "\(endpoints.count)")]
        } catch {
            throw .device(error, path: text)
        }
        return member
    }

    private static var workingDirectory: String {
        guard let path = unsafe getcwd(nil, 0) else { return "" }
        defer { unsafe free(path) }
        return unsafe String(cString: path)
    }

    /// Who waits for a server that is away doesn't hang: the supervisor has that much more patience with everybody.
    static func extendLimits(of configuration: inout SupervisorConfiguration) {
        var longest: UInt64 = 0
        for scheme in configuration.schemes where !scheme.endpoints.isEmpty {
            func seconds(_ key: String, otherwise: UInt64) -> UInt64 {
                scheme.settings.first { $0.key == key }.flatMap { UInt64($0.value) } ?? otherwise
            }
            let sum =
                min(seconds("patience", otherwise: patience), 1_000_000)
                + min(seconds("answer", otherwise: answer), 1_000_000)
            longest = max(longest, sum * 1_000_000_000)
        }
        configuration.limits.hang += longest
        configuration.limits.start += longest
        configuration.limits.finish += longest
    }
}
