import Platform

/// A part of a disk that its partition table names.
public struct Partition: Equatable, Sendable {
    /// Which table the partition is from.
    public enum Scheme: String, Sendable {
        /// GUID partition table (UEFI specification, chapter 5).
        case gpt
        /// Master boot record, with the logical partitions of its extended one.
        case mbr
    }

    /// The table.
    public let scheme: Scheme
    /// The number that Linux gives it: from 1; logical partitions of an MBR from 5.
    public let number: Int
    /// Where it begins, in bytes.
    public let offset: UInt64
    /// Its size in bytes.
    public let byteCount: UInt64
    /// The type: a GUID in its usual spelling, or two hexadecimal digits.
    public let type: String
    /// The name that a GPT gives, else empty.
    public let name: String
}

/// Finds the partitions of a disk or of an image of one.
public enum PartitionTable {
    /// The partitions in the order of their numbers; none if there is no table. Entries that don't lie on the device
    /// are left out; a damaged primary GPT is replaced by the backup at the device's end.
    public static func read(_ device: any BlockDevice) throws(BlockDeviceError) -> [Partition] {
        for sectorByteCount in [UInt64(512), 4096] {
            let partitions = try GUIDPartitionTable.read(device, sectorByteCount: sectorByteCount)
            if let partitions { return partitions }
        }
        return try MasterBootRecord.read(device)
    }
}

/// Unchecked reads of little-endian numbers would trap: these return nil outside.
extension RawSpan {
    func loadLittleEndian<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type) -> Number? {
        guard offset >= 0, byteCount >= Number.bitWidth / 8, offset <= byteCount - Number.bitWidth / 8 else {
            return nil
        }
        var result: Number = 0
        for index in 0..<Number.bitWidth / 8 {
            let byte = unsafe unsafeLoad(fromByteOffset: offset + index, as: UInt8.self)
            result |= Number(truncatingIfNeeded: byte) << Number(truncatingIfNeeded: index * 8)
        }
        return result
    }
}

extension BlockDevice {
    /// A range as a buffer; nil if it doesn't lie on the device.
    func readIfInside(at offset: UInt64, count: Int) throws(BlockDeviceError) -> AlignedBuffer? {
        guard offset <= byteCount, UInt64(count) <= byteCount - offset else { return nil }
        let buffer = AlignedBuffer(byteCount: count)
        try read(at: offset, into: buffer, 0..<count)
        return buffer
    }
}
