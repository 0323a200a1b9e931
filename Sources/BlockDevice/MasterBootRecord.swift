import Platform

/// Master boot record: four entries of 16 bytes at 446 (4 type, 8 first sector, 12 number of sectors), 0x55 0xAA at
/// 510. An extended partition (types 5, 0xF, 0x85) is a chain of such records: the first entry is a logical partition
/// relative to its record, the second the next record relative to the extended partition.
enum MasterBootRecord {
    private static let sectorByteCount: UInt64 = 512
    private static let extendedTypes: Set<UInt8> = [0x05, 0x0F, 0x85]
    /// What covers a disk with a GPT: no partition.
    private static let protectiveType: UInt8 = 0xEE
    private static let maximumLogicalCount = 128

    private struct Entry {
        let type: UInt8
        let first: UInt64
        let count: UInt64
    }

    static func read(_ device: any BlockDevice) throws(BlockDeviceError) -> [Partition] {
        guard let entries = try entries(device, sector: 0) else { return [] }
        var result: [Partition] = []
        var logicalNumber = 5
        for (index, entry) in entries.enumerated() where entry.count > 0 && entry.type != protectiveType {
            if extendedTypes.contains(entry.type) {
                try appendLogical(device, entry, &logicalNumber, &result)
            } else if let partition = partition(device, entry, base: 0, number: index + 1) {
                result.append(partition)
            }
        }
        return result.sorted { $0.number < $1.number }
    }

    private static func appendLogical(
        _ device: any BlockDevice, _ extended: Entry, _ number: inout Int, _ result: inout [Partition]
    ) throws(BlockDeviceError) {
        var sector = extended.first
        var visited: Set<UInt64> = []
        while visited.insert(sector).inserted, visited.count <= maximumLogicalCount {
            guard let entries = try entries(device, sector: sector) else { return }
            if entries[0].count > 0, let partition = partition(device, entries[0], base: sector, number: number) {
                result.append(partition)
                number += 1
            }
            guard entries[1].count > 0, extendedTypes.contains(entries[1].type) else { return }
            // Both are below 2^32: no overflow.
            sector = extended.first + entries[1].first
        }
    }

    private static func partition(
        _ device: any BlockDevice, _ entry: Entry, base: UInt64, number: Int
    ) -> Partition? {
        guard entry.type != 0, entry.first > 0 else { return nil }
        let offset = (base + entry.first) * sectorByteCount
        let length = entry.count * sectorByteCount
        guard offset < device.byteCount, length <= device.byteCount - offset else { return nil }
        let digits = String(entry.type, radix: 16, uppercase: true)
        return Partition(
            scheme: .mbr, number: number, offset: offset, byteCount: length,
            type: digits.count < 2 ? "0" + digits : digits, name: "")
    }

    private static func entries(_ device: any BlockDevice, sector: UInt64) throws(BlockDeviceError) -> [Entry]? {
        guard let record = try device.readIfInside(at: sector * sectorByteCount, count: 512),
            record.bytes.loadLittleEndian(510, as: UInt16.self) == 0xAA55
        else { return nil }
        var result: [Entry] = []
        for index in 0..<4 {
            let start = 446 + index * 16
            guard let type = record.bytes.loadLittleEndian(start + 4, as: UInt8.self),
                let first = record.bytes.loadLittleEndian(start + 8, as: UInt32.self),
                let count = record.bytes.loadLittleEndian(start + 12, as: UInt32.self),
                let status = record.bytes.loadLittleEndian(start, as: UInt8.self), status & 0x7F == 0
            else { return nil }
            result.append(Entry(type: type, first: UInt64(first), count: UInt64(count)))
        }
        return result
    }
}
