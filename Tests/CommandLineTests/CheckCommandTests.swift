import DiskFormat
import Glibc
import Platform
import TestSupport
import Testing

@Suite struct CheckCommands {
    /// Writes a golden image into a file; a block may be damaged.
    private func place(_ image: GoldenImage, in bench: Workbench, damagedBlock: Int? = nil) throws -> String {
        var bytes = try image.bytes()
        if let damagedBlock { bytes[damagedBlock * 4096 + 9] ^= 4 }
        try bench.write("disk.img", bytes)
        return bench.file("disk.img")
    }

    private func fsck(_ bench: Workbench, _ arguments: String...) throws -> BuiltProgram.Result {
        try bench.tool.run(["fsck"] + arguments, in: bench.directory)
    }

    private func read(_ name: String, in bench: Workbench) throws -> [UInt8] {
        let file = try SystemCall.open(bench.file(name), O_RDONLY)
        return try SystemCall.readToEnd(file.rawValue, limit: 1 << 24)
    }

    @Test func leaksAreLeftOrReclaimed() throws {
        let bench = try Workbench()
        let image = try place(.churn, in: bench)
        let check = try GoldenImage.churn.manifest().check
        let checked = try fsck(bench, image, "--json", "--verify-data")
        #expect(checked.status == 4 && checked.errors.isEmpty)
        let found = try JSONValue(parsing: checked.output)
        #expect(try found.whole("generation") == GoldenImage.churn.manifest().header.generation)
        #expect(try found.whole("nodes") == UInt64(GoldenImage.churn.manifest().header.nodes))
        #expect(try found.whole("used") == check.usedBlocks)
        #expect(try found.whole("free") == check.freeBlocks)
        #expect(try found.whole("leaked") == check.leakedBlocks - 1)
        let findings = try #require(found["findings"]?.array)
        #expect(!findings.isEmpty)
        for finding in findings {
            #expect(try finding.text("rule") == "blockLeaked")
            #expect(try finding.text("severity") == "leak")
            #expect(finding["repaired"]?.bool == false)
        }
        #expect(try fsck(bench, image).status == 4)
        #expect(try fsck(bench, image, "-p").status == 1)
        _ = try place(.churn, in: bench)
        let repaired = try fsck(bench, image, "--repair", "--json")
        #expect(repaired.status == 1)
        let result = try JSONValue(parsing: repaired.output)
        #expect(try result.whole("leaked") == UInt64(0))
        #expect(result["findings"]?.array?.allSatisfy { $0["repaired"]?.bool == true } == true)
        #expect(try fsck(bench, image).status == 0)
        #expect(try fsck(bench, image, "-y").status == 0)
    }

    @Test func corruptionIsAnErrorUntilItIsRepaired() throws {
        let bench = try Workbench()
        // Node 25 of the image, /sizes/c3969, lies in block 301.
        let image = try place(.smallTree, in: bench, damagedBlock: 301)
        #expect(try fsck(bench, image).status == 4)
        #expect(try fsck(bench, image, "-n").status == 4)
        // Content is lost: -p leaves that to a person.
        #expect(try fsck(bench, image, "-p").status == 4)
        #expect(try fsck(bench, image).status == 4)
        let repaired = try fsck(bench, image, "--repair", "--in-place", "--json")
        #expect(repaired.status == 1)
        let losses = try #require(try JSONValue(parsing: repaired.output)["losses"]?.array)
        #expect(try losses.map { try $0.whole("node") as UInt64 } == [25])
        #expect(try fsck(bench, image).status == 0)
    }

    /// One bit of the 16 bytes of the newest header that no hash covers: it claims to be encrypted, and there is no password.
    @Test func aFlippedBitAsksForNoPassword() throws {
        let bench = try Workbench()
        var bytes = try GoldenImage.smallTree.bytes()
        bytes[893 % 256 * 4096 + 4080] ^= 1
        try bench.write("disk.img", bytes)
        let image = bench.file("disk.img")
        #expect(try bench.run("ls", image).lines.contains("sizes"))
        #expect(try bench.run("inspect", image).text.contains("encrypted: no\n"))
        let found = try fsck(bench, image)
        #expect(found.status == 4 && found.text.contains("headerEncryptedHashWrong"))
        let repaired = try fsck(bench, image, "--repair")
        #expect(repaired.status == 1 && repaired.lines.last?.hasSuffix("(--verify-data)") == true)
        #expect(try fsck(bench, image).status == 0)
        #expect(try bench.run("ls", image).lines.contains("sizes"))
    }

    /// A newest header that leads nowhere, with 255 good ones beside it.
    @Test func theTreeOfAnOlderGenerationIsTaken() throws {
        let bench = try Workbench()
        var bytes = try GoldenImage.smallTree.bytes()
        let place = 893 % 256 * 4096
        var header = try Header(decoding: bytes.rawBytes.extracting(place..<place + 4096))
        header.tree.address = BlockAddress(number: 0xFFFF, level: 0)
        header.seal()
        bytes.replaceSubrange(place..<place + 4096, with: header.bytes)
        try bench.write("disk.img", bytes)
        let image = bench.file("disk.img")
        #expect(try bench.run("ls", image).lines.contains("sizes"))
        #expect(try fsck(bench, image, "--repair", "--in-place").status == 8)
        #expect(try fsck(bench, image, "--repair").status == 1)
        #expect(try fsck(bench, image).status == 0)
        #expect(try bench.run("ls", image).lines.contains("sizes"))
    }

    /// What lies in front of the end of a cut-off image can be listed, with a word about it.
    @Test func aCutOffImageIsSaidToBeOne() throws {
        let bench = try Workbench()
        try bench.write("disk.img", Array(try GoldenImage.smallTree.bytes().prefix(8_000_000)))
        let image = bench.file("disk.img")
        let listed = try bench.run("ls", image)
        #expect(listed.lines.contains("sizes"))
        #expect(listed.errors.contains("8000000 of 16777216 bytes"))
        #expect(try fsck(bench, image).text.contains("truncate -s 16777216"))
        #expect(try fsck(bench, image, "--repair").status == 1)
        #expect(try fsck(bench, image, "--verify-data").status == 0)
    }

    @Test func failuresHaveTheExitCodesOfFsck() throws {
        let bench = try Workbench()
        #expect(try fsck(bench, bench.file("nothing")).status == 8)
        try bench.write("zeros", [UInt8](repeating: 0, count: 1 << 20))
        #expect(try fsck(bench, bench.file("zeros")).status == 8)
        #expect(try fsck(bench, "-n", "--repair", bench.file("zeros")).status == 16)
        #expect(try fsck(bench).status == 16)
    }

    @Test func everyStructureIsPrinted() throws {
        let bench = try Workbench()
        let image = try place(.smallTree, in: bench)
        #expect(try bench.run("inspect", image).text.contains("generation: 893"))
        #expect(try bench.run("inspect", image, "/sizes/r1048583").text.contains("record 0"))
        #expect(try bench.run("inspect", image, "--block", "301").text.contains("path: /sizes/c3969"))
        let node = try JSONValue(parsing: try bench.run("inspect", image, "--node", "25", "--json").output)
        #expect(try node.whole("size") == UInt64(3969))
        #expect(try bench.run("inspect", image, "--log").text.contains("blocks from"))
        #expect(try bench.run("inspect", image, "--tree").text.contains("nodes: 416"))
        #expect(try bench.run("inspect", image, "--usage").text.contains("compression_ratio"))
        let owned = try JSONValue(parsing: try bench.run("inspect", image, "--block", "301", "--json").output)
        let owner = try #require(owned["owners"]?.array?.first?.array?.last)
        #expect(try owner.text("kind") == "node" && owner.whole("node") == UInt64(25))
        let header = try JSONValue(parsing: try bench.run("inspect", image, "--header", "--json").output)
        #expect(try #require(header["tree"]).whole("blocks") == UInt64(1))
        #expect(try header.text("uuid").split(separator: "-").map(\.count) == [8, 4, 4, 4, 12])
        let tree = try JSONValue(parsing: try bench.run("inspect", image, "--tree", "--json").output)
        #expect(try tree["node_blocks"]?.array?.first?.whole("node") == UInt64(1))
        let log = try JSONValue(parsing: try bench.run("inspect", image, "--log", "--json").output)
        let entry = try #require(log["log"]?.array?.first?["entries"]?.array?.first)
        let count: UInt64 = try entry.whole("count")
        #expect(count > 0 && entry["frees"]?.bool != nil)
        let usage = try JSONValue(parsing: try bench.run("inspect", image, "--usage", "--json").output)
        #expect(usage["use"]?["allocation_log"] != nil && usage["nodes"]?["symlink"] != nil)
        try bench.fail(1, "inspect", image, "/nothing")
        try bench.fail(2, "inspect", image, "--log", "--tree")
    }

    @Test func mapsAreDrawn() throws {
        let bench = try Workbench()
        let image = try place(.churn, in: bench)
        try bench.run("inspect", image, "--map", bench.file("map.svg"))
        try bench.run("inspect", image, "--map", bench.file("map.png"), "--highlight", "/d00020")
        let picture = try read("map.png", in: bench)
        #expect(picture.starts(with: [0x89, 0x50, 0x4E, 0x47]))
        let drawing = try read("map.svg", in: bench)
        #expect(String(decoding: drawing, as: UTF8.self).hasPrefix("<svg "))
        try bench.fail(2, "inspect", image, "--map", bench.file("map.gif"))
        let text = try bench.run("inspect", image, "--map", bench.file("map.svg"), "--json").output
        let map = try JSONValue(parsing: text)
        #expect(try map.text("file") == bench.file("map.svg"))
        #expect(try #require(map["cells"]).whole("ring") == UInt64(257))
    }

    @Test func historyLeadsBack() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/before")
        let history = try JSONValue(parsing: try bench.run("history", image, "--json").output)
        let newest: UInt64 = try #require(history.array?.first).whole("generation")
        try bench.run("mkdir", image, "/after")
        let changes = try JSONValue(parsing: try bench.run("history", image, "--from", "\(newest)", "--json").output)
        #expect(
            try #require(changes.array).contains { try $0.text("path") == "/after" && $0.text("change") == "added" })
        try bench.run("rollback", image, "\(newest)")
        #expect(try bench.run("ls", image).lines == ["before"])
        #expect(try fsck(bench, image, "--verify-data").text.contains("clean"))
    }
}
