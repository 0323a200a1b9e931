import BlockDevice
import DiskFormat
import Platform
import RedoxFS

/// Copies a whole file system into a new image: a fresh one without history, holes or leaks, and if wanted of another
/// size or encryption.
public enum Clone {
    /// What lies in front of a file system: its boot loader, without the zeros at the end.
    public static func bootLoader(of image: OpenedImage) throws(ToolFailure) -> [UInt8] {
        do throws(BlockDeviceError) {
            guard let store = try HeaderStore(image.device), store.start > 0 else { return [] }
            var bytes = [UInt8](repeating: 0, count: Int(store.start) * Limits.blockSize)
            try bytes.withMutableRawBytes { (target) throws(BlockDeviceError) in
                try image.device.read(at: 0, into: &target)
            }
            return bytes
        } catch {
            throw .device(error, path: image.name)
        }
    }

    /// Copies all entries with everything that is kept of them.
    ///
    /// - Parameter salvages: whether entries with damaged metadata are left out with a warning; without, they end the copy.
    ///   Lost content is a warning either way: a hole takes its place.
    public static func run(
        from old: ImageVolume, to new: ImageVolume, now: Timespec, salvages: Bool, observer: (any CopyObserver)?
    ) throws(ToolFailure) -> CopySummary {
        let top = try old.resolve("/")
        let warnings = Warnings(observer)
        let source = ImageTreeSource(old, top: top, salvages: salvages, warn: warnings.add)
        let sink = ImageTreeSink(new, top: .root, now: now, warn: warnings.add)
        var summary = try TreeCopy.run(from: source, to: sink, observer: observer)
        summary.warnings += warnings.messages
        return summary
    }
}
