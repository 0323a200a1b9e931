import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@Suite struct History {
    private static let time = Timespec(seconds: 1_800_000_000, nanoseconds: 5)

    @Test(arguments: [GoldenImage.archived, .smallTree, .encrypted, .full])
    func wholeGenerationsCanBeRestoredAndOthersNot(_ image: GoldenImage) throws {
        let original = try Surgeon.original(image)
        let options = CheckOptions(password: image.password)
        let history = try FileSystemCheck.history(original, options)
        #expect(history.first?.isWhole == true)
        #expect(history.map(\.generation) == history.map(\.generation).sorted(by: >))
        for summary in history.prefix(12) {
            let device = OverlayDevice(over: original)
            if summary.isWhole {
                let report = try FileSystemCheck.rollBack(device, to: summary.generation, options, time: Self.time)
                #expect(report.after.isClean)
                let changes = try FileSystemCheck.changes(
                    device, from: summary.generation, to: report.after.generation, options)
                #expect(changes.isEmpty)
            } else {
                #expect(throws: CheckError.self) {
                    try FileSystemCheck.rollBack(device, to: summary.generation, options, time: Self.time)
                }
                #expect(device.changedPageCount == 0)
            }
        }
    }

    @Test func commitTimeIsNotedAndShown() throws {
        let surgeon = try Surgeon(.churn)
        let report = try FileSystemCheck.repair(surgeon.device, CheckOptions(), RepairOptions(time: Self.time))
        let history = try FileSystemCheck.history(surgeon.device)
        #expect(history.first?.generation == report.generation)
        #expect(history.first?.time == Self.time)
        #expect(history.dropFirst().allSatisfy { $0.time == nil })
    }

    @Test func changesNamePaths() throws {
        let surgeon = try Surgeon(.smallTree)
        let before = surgeon.header.generation
        // A new generation in which a name is gone, a file is changed and an orphan appears in lost+found.
        let copy = try Surgeon(continuing: surgeon)
        try copy.editList(SmallTree.list(SmallTree.many)) { $0.removeAll { $0.node == SmallTree.otherFile } }
        let report = try copy.repair()
        // The old generation shares the edited list: what was edited shows as the old state, too.
        let changes = try FileSystemCheck.changes(surgeon.device, from: before, to: report.after.generation)
        #expect(changes.contains(PathChange(kind: .added, path: "/lost+found/#115", node: 115)))
        #expect(changes.contains { $0.kind == .added && $0.path == "/lost+found" })
        #expect(changes.contains { $0.kind == .changed && $0.path == "/" })
    }
}
