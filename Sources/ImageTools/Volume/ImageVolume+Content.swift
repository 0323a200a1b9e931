import DiskFormat
import Platform
import RedoxFS

/// Why the content of a file wasn't passed on to its end.
enum ContentFailure: Error {
    /// The file system failed otherwise than by damage.
    case fileSystem(FileSystemError)
    /// Who gets the content refused it.
    case receiver(ToolFailure)
}

extension ImageVolume {
    /// The smallest part of a file that is lost by itself.
    private static let smallestPart: UInt64 = 4096
    /// What one list of records covers: where to look on behind one that can't be read.
    private static let listSpan: UInt64 = 32 << 20

    /// Where a file's data lies, in order; the rest of its size is holes.
    public func extents(_ node: NodeID, size: UInt64) throws(FileSystemError) -> [Range<UInt64>] {
        var result: [Range<UInt64>] = []
        var position: UInt64 = 0
        while position < size {
            do throws(FileSystemError) {
                let data = try fileSystem.seek(node, from: position, .data)
                let hole = try fileSystem.seek(node, from: data, .hole)
                guard data < size, hole > data else { break }
                result.append(data..<min(hole, size))
                position = hole
            } catch {
                if error == .noData { break }
                throw error
            }
        }
        return result
    }

    /// The same of a damaged file. What hangs from a list that can't be read is in no extent and is passed to `lost`; where
    /// that can't be told, holes may be taken for data.
    func extents(
        _ node: NodeID, size: UInt64, lost: (Range<UInt64>, FileSystemError) -> Void
    ) throws(FileSystemError) -> [Range<UInt64>] {
        do throws(FileSystemError) {
            return try extents(node, size: size)
        } catch {
            guard error.isLoss else { throw error }
        }
        var result: [Range<UInt64>] = []
        var position: UInt64 = 0
        let buffer = AlignedBuffer(byteCount: 1)
        while position < size {
            let end = min(size, (position / Self.listSpan + 1) * Self.listSpan)
            do throws(FileSystemError) {
                let data = try fileSystem.seek(node, from: position, .data)
                guard data < size else { break }
                if data >= end {
                    position = data
                    continue
                }
                let hole = min(end, try fileSystem.seek(node, from: data, .hole))
                guard hole > data else { break }
                result.append(data..<hole)
                position = hole
            } catch {
                if error == .noData { break }
                guard error.isLoss else { throw error }
                // It may be a list further on that can't be read.
                do throws(FileSystemError) {
                    var byte = buffer.mutableBytes
                    _ = try fileSystem.read(node, at: position, into: &byte)
                    result.append(position..<end)
                } catch {
                    guard error.isLoss else { throw error }
                    lost(position..<end, error)
                }
                position = end
            }
        }
        return result
    }

    /// Reads a part of a file piece by piece in rising order. What can't be read is passed to `lost` in its place, as exactly as
    /// can be told.
    func readContent(
        _ node: NodeID, _ range: Range<UInt64>, through buffer: AlignedBuffer,
        _ body: (UInt64, RawSpan) throws(ContentFailure) -> Void, lost: (Range<UInt64>, FileSystemError) -> Void
    ) throws(ContentFailure) {
        var pending = [range]
        while let part = pending.popLast() {
            let wanted = min(UInt64(buffer.byteCount), part.upperBound - part.lowerBound)
            if wanted == 0 { continue }
            let count: Int
            do throws(FileSystemError) {
                var bytes = buffer.mutableBytes(0..<Int(wanted))
                count = try fileSystem.read(node, at: part.lowerBound, into: &bytes)
            } catch {
                guard error.isLoss else { throw .fileSystem(error) }
                let end = part.lowerBound + wanted
                pending.append(end..<part.upperBound)
                // Half of it may be readable: records end at multiples of the smallest part.
                let half =
                    (part.lowerBound + wanted / 2 + Self.smallestPart - 1) / Self.smallestPart * Self.smallestPart
                if half > part.lowerBound, half < end {
                    pending.append(half..<end)
                    pending.append(part.lowerBound..<half)
                } else {
                    lost(part.lowerBound..<end, error)
                }
                continue
            }
            if count == 0 { return }
            try body(part.lowerBound, buffer.bytes(0..<count))
            pending.append(part.lowerBound + UInt64(count)..<part.upperBound)
        }
    }
}

extension FileSystemError {
    /// Whether something on the disk can't be read, while the rest may be.
    var isLoss: Bool {
        switch self {
        case .corrupt, .device: true
        default: false
        }
    }
}

/// Which bytes of a file can't be read, neighbours put together.
struct LostContent {
    private(set) var ranges: [(bytes: Range<UInt64>, reason: FileSystemError)] = []

    /// Notes bytes that lie behind those that are known.
    mutating func add(_ bytes: Range<UInt64>, _ reason: FileSystemError) {
        if let last = ranges.last, last.bytes.upperBound == bytes.lowerBound, last.reason == reason {
            ranges[ranges.count - 1].bytes = last.bytes.lowerBound..<bytes.upperBound
        } else {
            ranges.append((bytes, reason))
        }
    }

    /// A line for each.
    func messages(_ path: String) -> [String] {
        ranges.map { "\(path): bytes \($0.bytes.lowerBound) to \($0.bytes.upperBound - 1) are lost: \($0.reason)" }
    }
}
