import BlockDevice
import DiskFormat
import FileScheme
import Platform
import RedoxFS
import Sandbox
import SchemeKit

/// The process of a file system: RedoxFS on the disk of another scheme. It can reach nothing but its channels.
///
/// Settings, all but the last with defaults:
/// - `disk` the scheme that has the disk (`disk`), `path` the disk's name there (`0`, `0p1`)
/// - `read-only` 1, `generation` the generation to show (read-only then)
/// - `cache-bytes`, `dirty-bytes` limits of memory; `threads` for hashing and compression
///
/// Descriptor `secret`, if the file system is encrypted: memory with the password.
@main
struct FileProgram {
    /// Threads that answer: one for what is quick, one for what waits for the disk meanwhile.
    private static let workers = 2

    static func main() {
        SchemeServer.main(workers: workers, afterStart: { _ in try StrictMode.enter() }, rehearse: rehearse) { start in
            var options = OpenOptions()
            options.readOnly = start.setting("read-only") == "1"
            options.generation = try number(start, "generation").map { Generation($0) }
            if let bytes = try number(start, "cache-bytes") { options.cacheBytes = Int(clamping: bytes) }
            if let bytes = try number(start, "dirty-bytes") { options.dirtyBytes = Int(clamping: bytes) }
            if let count = try number(start, "threads") { options.threads = Int(clamping: count) }
            options.password = try password(start)
            let isWritable = !options.readOnly && options.generation == nil
            let client = try start.connector.connect(to: start.setting("disk") ?? "disk", geometry: .small)
            do {
                let file = try client.open(
                    start.setting("path") ?? "0", flags: isWritable ? OpenFlags.readWrite : OpenFlags.readOnly)
                let device = try ChannelDevice(file, isWritable: isWritable, host: start.host)
                let note = HeaderNote(try SchemeState(start, name: "header", byteCount: HeaderNote.byteCount).memory)
                return try FileScheme(device, options: options, host: start.host, note: note)
            } catch let error as FileSystemError {
                throw SchemeStartError.failed(error.errno, "\(error)")
            } catch let error as Errno {
                throw SchemeStartError.failed(error, "cannot open the disk: \(error)")
            }
        }
    }

    /// A small file system in memory, opened and closed.
    private static func rehearse() throws {
        try StrictMode.rehearse()
        let device = MemoryDevice(byteCount: 2 << 20)
        try FileSystem.format(
            device, FormatOptions(uuid: Bytes16(), time: Timespec(seconds: 0, nanoseconds: 0)))
        try FileScheme(device, options: OpenOptions()).finish()
    }

    private static func number(_ start: SchemeStart, _ key: String) throws(SchemeStartError) -> UInt64? {
        guard let text = start.setting(key) else { return nil }
        guard let number = UInt64(text) else { throw .badSetting(key, value: text) }
        return number
    }

    /// The password's bytes, nil without one. No longer than anybody types.
    private static func password(_ start: SchemeStart) throws(SchemeStartError) -> [UInt8]? {
        guard let descriptor = start.descriptor("secret") else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count: Int
        do throws(Errno) {
            var span = bytes.mutableSpan
            var target = unsafe span.mutableBytes
            count = try SystemCall.read(descriptor.rawValue, at: 0, into: &target)
        } catch {
            throw .failed(error, "cannot read the password")
        }
        return Array(bytes.prefix(count))
    }
}
