import BlockDevice
import Glibc
import Platform
import TestSupport
import Testing

/// What commands say and do about an image of which something can't be read.
@Suite struct DamagedImageTests {
    /// The golden image, with damaged blocks and, if wanted, with no generation but the newest.
    private func place(_ bench: Workbench, damaged: [UInt64], keepsHistory: Bool = true) throws -> String {
        let path = bench.file("disk.img")
        try GoldenImage.smallTree.write(to: path)
        let device = try FileDevice(path: path, writable: true)
        for block in damaged {
            let byte = try device.readBytes(at: block * 4096 + 9, count: 1)[0]
            try device.writeBytes(at: block * 4096 + 9, [byte ^ 4])
        }
        if !keepsHistory {
            let newest = try GoldenImage.smallTree.manifest().header.generation
            for block in UInt64(0)..<256 where block != newest % 256 {
                try device.writeBytes(at: block * 4096, [UInt8](repeating: 0, count: 4096))
            }
        }
        return path
    }

    // Node 25 of the image, /sizes/c3969, lies in block 301.
    @Test func aBadNodeIsShownByNameAlone() throws {
        let bench = try Workbench()
        let image = try place(bench, damaged: [301], keepsHistory: false)
        for arguments in [["ls", image, "/sizes", "-l"], ["ls", image, "/sizes"], ["ls", image, "/sizes", "--json"]] {
            let result = try bench.tool.run(arguments, in: bench.directory)
            #expect(result.status == 1, "\(arguments)")
            #expect(result.errors.contains("/sizes/c3969"))
            #expect(result.text.contains("c3969") && result.text.contains("r1048583"))
        }
        let long = try bench.tool.run(["ls", image, "/sizes", "-l"], in: bench.directory)
        #expect(long.lines.first { $0.hasSuffix(" c3969") }?.hasPrefix("?") == true)
        let listed = try bench.tool.run(["manifest", image, "/sizes"], in: bench.directory)
        #expect(listed.status == 1)
        #expect(!listed.text.contains("c3969\"") && listed.text.contains("r1048583"))
    }

    @Test func contentThatIsLostIsNamed() throws {
        let bench = try Workbench()
        let sound = try place(bench, damaged: [])
        let text = try bench.run("inspect", sound, "/sizes/r1048583", "--json").output
        let extents = try #require(try JSONValue(parsing: text)["extents"]?.array)
        let block: UInt64 = try #require(extents.first).whole("block")
        let image = try place(bench, damaged: [block])
        let results = [
            try bench.tool.run(["export", image, bench.file("out")], in: bench.directory),
            try bench.tool.run(["clone", image, bench.file("copy.img")], in: bench.directory),
            try bench.tool.run(["manifest", image], in: bench.directory),
            try bench.tool.run(["export", image, "-"], in: bench.directory),
        ]
        for (index, result) in results.enumerated() {
            #expect(result.status == 1, "\(index)")
            #expect(result.errors.contains("sizes/r1048583: bytes 0 to 131071 are lost"), "\(index): \(result.errors)")
        }
        try bench.write("archive.tar", results[3].output)
        let tar = BuiltProgram(path: "/bin/tar")
        let listed = try tar.run(["-tf", bench.file("archive.tar")], in: bench.directory)
        #expect(listed.status == 0 && listed.errors.isEmpty)
        #expect(listed.lines.count == results[2].lines.count)
        try bench.run("fsck", bench.file("copy.img"), "--verify-data")
    }

    @Test func cloneFallsBackToTheNewestWholeGeneration() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        try bench.run("mkdir", image, "/kept")
        try bench.run("mkdir", image, "/lost")
        let header = try JSONValue(parsing: try bench.run("inspect", image, "--header", "--json").output)
        do {
            let device = try FileDevice(path: image, writable: true)
            let tree: UInt64 = try #require(header["tree"]).whole("block")
            try device.writeBytes(at: tree * 4096, [UInt8](repeating: 0xEE, count: 512))
        }
        // Into a new file, and into one that is there.
        let copy = bench.file("copy.img")
        for _ in 0..<2 {
            let result = try bench.run("clone", image, copy)
            #expect(result.errors.contains("falling back to generation"))
            #expect(try bench.run("ls", copy).lines == ["kept"])
            try FileDevice(path: copy, writable: true).discard(at: 0, byteCount: 16 << 20)
        }
    }

    @Test func generationsThatAreNotThereAreNamed() throws {
        let bench = try Workbench()
        let image = bench.file("disk.img")
        try bench.run("mkfs", image, "--size", "16M")
        let commands = [
            ["ls", image], ["cat", image, "/a"], ["manifest", image], ["export", image, bench.file("out")],
            ["clone", image, bench.file("copy.img")],
        ]
        for command in commands {
            let result = try bench.tool.run(command + ["--generation", "999"], in: bench.directory)
            #expect(result.status == 1)
            #expect(result.errors.contains("there is no header of generation 999 (there: 1 to "), "\(result.errors)")
            #expect(result.errors.contains("history") && !result.errors.contains("mkfs"))
        }
        #expect(!SystemCall.exists(bench.file("copy.img")))
    }

    @Test func generationsThatAreOverwrittenAreSaidToBe() throws {
        let bench = try Workbench()
        let image = try place(bench, damaged: [])
        let history = try JSONValue(parsing: try bench.run("history", image, "--all", "--json").output)
        let lost = try #require(history.array?.first { $0["whole_metadata"]?.bool == false })
        let generation: UInt64 = try lost.whole("generation")
        let result = try bench.tool.run(["manifest", image, "--generation", "\(generation)"], in: bench.directory)
        #expect(result.status == 1)
        #expect(result.errors.contains("can't be read in full any more") && result.errors.contains("history"))
    }
}
