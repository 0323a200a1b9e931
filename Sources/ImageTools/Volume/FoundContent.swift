import BlockDevice
import DiskFormat
import Platform

/// What lies on a device that a file system is to be made on.
enum FoundContent {
    private struct Signature {
        let name: String
        let offset: Int
        let bytes: [UInt8]

        init(_ name: String, _ offset: Int, _ text: String) {
            self.name = name
            self.offset = offset
            bytes = Array(text.utf8)
        }

        init(_ name: String, _ offset: Int, _ bytes: [UInt8]) {
            self.name = name
            self.offset = offset
            self.bytes = bytes
        }
    }

    /// Where the magic numbers of other formats lie, as in libblkid.
    private static let signatures = [
        Signature("an ext2, ext3 or ext4 file system", 1080, [0x53, 0xEF]), Signature("an XFS file system", 0, "XFSB"),
        Signature("a Btrfs file system", 65600, "_BHRfS_M"), Signature("an NTFS file system", 3, "NTFS    "),
        Signature("an exFAT file system", 3, "EXFAT   "), Signature("a FAT file system", 54, "FAT1"),
        Signature("a FAT file system", 82, "FAT32"), Signature("an F2FS file system", 1024, [0x10, 0x20, 0xF5, 0xF2]),
        Signature("swap space", 4086, "SWAPSPACE2"),
        Signature("a LUKS volume", 0, [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE]),
        Signature("an LVM volume", 512, "LABELONE"), Signature("an ISO 9660 file system", 32769, "CD001"),
        Signature("a SquashFS file system", 0, "hsqs"), Signature("a QCOW disk image", 0, [0x51, 0x46, 0x49, 0xFB]),
    ]

    /// A file system or the like of another kind, by what a device begins with.
    static func signature(_ head: [UInt8]) -> String? {
        signatures.first { signature in
            signature.offset + signature.bytes.count <= head.count
                && head[signature.offset..<signature.offset + signature.bytes.count].elementsEqual(signature.bytes)
        }?.name
    }

    /// "holds ...", nil if there is nothing but zeros.
    ///
    /// - Parameter begin: how many first bytes are looked at, and the last MiB, where disks that are part of something note that; of a
    ///   file all of it, its holes apart.
    static func describe(_ image: OpenedImage, begin: UInt64) throws(BlockDeviceError) -> String? {
        if image.partition == nil {
            let count = try PartitionTable.read(image.whole).count
            if count > 0 { return "has \(count) partition\(count == 1 ? "" : "s")" }
        }
        let device = image.device
        if try HeaderStore.firstHeader(device) != nil { return "holds a RedoxFS" }
        let head = AlignedBuffer(byteCount: Int(min(device.byteCount, 128 << 10)))
        try device.read(at: 0, into: head, 0..<head.byteCount)
        if let name = signature(head.bytes.copyToArray()) { return "holds \(name)" }
        let isZero: Bool
        if let file = image.file, !file.isBlockSpecial {
            let offset = image.partition?.offset ?? 0
            isZero = try isAllZero(device, of: file, offset)
        } else {
            let begin = min(begin, device.byteCount)
            let end = max(begin, device.byteCount - min(device.byteCount, 1 << 20))
            let beginsWithZeros = try isAllZero(device, 0..<begin)
            isZero = beginsWithZeros ? try isAllZero(device, end..<device.byteCount) : false
        }
        return isZero ? nil : "holds data"
    }

    /// Whether all that is stored of a part of a file is zeros.
    private static func isAllZero(
        _ part: any BlockDevice, of file: FileDevice, _ offset: UInt64
    ) throws(BlockDeviceError) -> Bool {
        var position: UInt64 = 0
        while position < part.byteCount {
            guard let data = try file.nextData(from: offset + position), data.lowerBound - offset < part.byteCount
            else {
                return true
            }
            position = min(part.byteCount, data.upperBound - offset)
            if try !isAllZero(part, data.lowerBound - offset..<position) { return false }
        }
        return true
    }

    private static func isAllZero(_ device: any BlockDevice, _ range: Range<UInt64>) throws(BlockDeviceError) -> Bool {
        let buffer = AlignedBuffer(byteCount: 1 << 20)
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(UInt64(buffer.byteCount), range.upperBound - position))
            try device.read(at: position, into: buffer, 0..<count)
            if !buffer.bytes(0..<count).isAllZero() { return false }
            position += UInt64(count)
        }
        return true
    }
}
