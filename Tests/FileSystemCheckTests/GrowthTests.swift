import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import TestSupport
import Testing

@Suite struct GrowthOfDamagedImages {
    /// What is damaged stays as it is when a file system grows, and the new room can be used to repair it. It can't shrink.
    @Test(arguments: [false, true])
    func damageStaysAsItIs(_ isLogLost: Bool) throws {
        let surgeon = try Surgeon(.smallTree)
        // Written once, long before the oldest header of the ring: no generation has it.
        try surgeon.ruin(surgeon.pointer(Surgeon.node(SmallTree.level00)).address.number)
        if isLogLost { try surgeon.ruin(surgeon.header.allocationLog.address.number) }
        let device = MemoryDevice(contents: try surgeon.device.readBytes(at: 0, count: Int(surgeon.device.byteCount)))
        let before = try FileSystemCheck.check(device)
        #expect(before.counts[.nodeUnreadable] == 1 && (before.counts[.logUnreadable] == 1) == isLogLost)
        #expect(throws: ResizeError.self) {
            _ = try FileSystemCheck.resize(device, to: 9 << 20, time: Timespec(seconds: 5))
        }
        try device.resize(to: 40 << 20)
        let grown = try FileSystemCheck.resize(device, to: 40 << 20, time: Timespec(seconds: 5))
        #expect(grown.needsRepair && grown.newByteCount == 40 << 20)
        #expect(grown.generation == before.generation.next)
        let after = try FileSystemCheck.check(device)
        // The new log is right in any case; the blocks of the old one are nobody's until the repair.
        let others = { (rule: Rule) in rule != .blockLeaked && rule != .logUnreadable }
        #expect(after.counts.filter { others($0.key) } == before.counts.filter { others($0.key) })
        #expect(after.blockCount == 10_240)
        #expect(after.free == before.free + 10_240 - before.blockCount - after.logBlocks)
        let repaired = try FileSystemCheck.repair(
            device, CheckOptions(), RepairOptions(fallsBack: false, time: Timespec(seconds: 6)))
        #expect(repaired.after.isClean && repaired.attached == [4])
        #expect(try FileSystemCheck.check(device, CheckOptions(verifyData: true)).isClean)
    }
}
