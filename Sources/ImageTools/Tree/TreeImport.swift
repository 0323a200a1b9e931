import DiskFormat
import Glibc
import RedoxFS

/// Copies a directory of the host, or a tar archive, into an image.
public enum TreeImport {
    /// - Parameters:
    ///   - source: a directory, or "-" for a tar archive from standard input.
    ///   - path: the directory in the image that takes the contents; made if it isn't there.
    ///   - now: the time of what the source has no time for.
    public static func run(
        from source: String, into volume: ImageVolume, path: String, now: Timespec, observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        if source == "-" {
            return try run(fromTar: source, into: volume, path: path, now: now, observer: observer)
        }
        return try run(HostTreeSource(directory: source), volume, path, now, observer, Warnings(observer))
    }

    /// The same from a tar archive: a file, or "-" for standard input.
    public static func run(
        fromTar source: String, into volume: ImageVolume, path: String, now: Timespec, observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        try run(archive: ByteReader(path: source), into: volume, path: path, now: now, observer: observer)
    }

    /// The same from any archive.
    public static func run(
        archive: ByteReader, into volume: ImageVolume, path: String, now: Timespec, observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        let warnings = Warnings(observer)
        return try run(TarTreeSource(archive, warn: warnings.add), volume, path, now, observer, warnings)
    }

    private static func run(
        _ source: any TreeSource, _ volume: ImageVolume, _ path: String, _ now: Timespec,
        _ observer: (any CopyObserver)?, _ warnings: Warnings
    ) throws(ToolFailure) -> CopySummary {
        let top = try TreeEdit(volume, now: now).makeDirectory(path, mode: 0o755, withParents: true)
        let sink = ImageTreeSink(volume, top: top, now: now, warn: warnings.add)
        var summary = try TreeCopy.run(from: source, to: sink, observer: observer)
        summary.warnings += warnings.messages
        return summary
    }
}

/// Copies a part of an image out of it.
public enum TreeExport {
    /// - Parameters:
    ///   - path: a directory in the image, whose contents are copied, or another entry, which is.
    ///   - destination: a directory, or "-" for a tar archive to standard output.
    ///   - salvages: whether entries with damaged metadata are left out with a warning; without, they end the copy. Lost
    ///     content is a warning either way: zeros take its place.
    public static func run(
        from volume: ImageVolume, path: String, to destination: String, salvages: Bool = true,
        observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        if destination == "-" {
            let writer = ByteWriter(descriptor: STDOUT_FILENO, name: "standard output")
            return try run(from: volume, path: path, archive: writer, salvages: salvages, observer: observer)
        }
        let warnings = Warnings(observer)
        let sink = try HostTreeSink(directory: destination, warn: warnings.add)
        return try run(volume, path, sink, salvages, observer, warnings)
    }

    /// The same into any archive.
    public static func run(
        from volume: ImageVolume, path: String, archive: ByteWriter, salvages: Bool = true,
        observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        let warnings = Warnings(observer)
        return try run(volume, path, TarTreeSink(archive, warn: warnings.add), salvages, observer, warnings)
    }

    private static func run(
        _ volume: ImageVolume, _ path: String, _ sink: any TreeSink, _ salvages: Bool,
        _ observer: (any CopyObserver)?, _ warnings: Warnings
    ) throws(ToolFailure) -> CopySummary {
        let top = try volume.resolve(path)
        let name = ImageVolume.components(path).last
        let source = ImageTreeSource(volume, top: top, name: name, salvages: salvages, warn: warnings.add)
        var summary = try TreeCopy.run(from: source, to: sink, observer: observer)
        summary.warnings += warnings.messages
        return summary
    }
}

/// Collects what sources and sinks could not keep.
final class Warnings {
    private(set) var messages: [String] = []
    private let observer: (any CopyObserver)?

    init(_ observer: (any CopyObserver)?) {
        self.observer = observer
    }

    func add(_ message: String) {
        messages.append(message)
        observer?.warning(message)
    }
}
