import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import DisplayScheme

/// What stat(2) and mmap(2) make of the files' sizes, which the kernel keeps.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct MountedSizeTests {
    private let pixels = testPixels(320 * 200, seed: 41)
    private static let frameBytes = 320 * 200 * 4

    /// The words of a file of pixels through a mapping of its own.
    private func withMapping(
        _ descriptor: Int32, _ count: Int, _ body: (UnsafeMutableBufferPointer<UInt32>) throws -> Void
    ) throws {
        let mapped = unsafe mmap(nil, 4 * count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        try #require(unsafe mapped != MAP_FAILED)
        defer { unsafe munmap(mapped, 4 * count) }
        let words = try unsafe #require(mapped).assumingMemoryBound(to: UInt32.self)
        try unsafe body(UnsafeMutableBufferPointer(start: words, count: count))
    }

    @Test func pixelsKeepTheirSizeHoweverTheyAreWritten() throws {
        let display = try MountedDisplay()
        let before = try display.open("0/fb")
        #expect(try display.size("0/fb") == Self.frameBytes)
        // A shell's ">".
        _ = try display.open("0/fb", O_WRONLY | O_TRUNC)
        #expect(try display.size("0/fb") == Self.frameBytes)
        // A film, frame after frame.
        let film = try display.open("0/fb", O_WRONLY | O_CREAT | O_TRUNC)
        let content = bytes(pixels)
        let span = content.span
        for _ in 0..<3 { try SystemCall.writeAll(film.rawValue, unsafe span.bytes) }
        #expect(try display.size("0/fb") == Self.frameBytes)
        try display.kill()
        #expect(try display.size("0/fb") == Self.frameBytes)
        // Frames through a file that wasn't emptied.
        for _ in 0..<2 { try SystemCall.writeAll(before.rawValue, unsafe span.bytes) }
        #expect(try display.size("0/fb") == Self.frameBytes)
        #expect(unsafe truncate("\(display.root)/0/fb", 0) == 0)
        #expect(try display.size("0/fb") == Self.frameBytes)
        #expect(try display.picture() == pixels)
        let now = try display.open("0/fb")
        try unsafe withMapping(now.rawValue, 320 * 200) { words in
            #expect(unsafe words.elementsEqual(pixels))
            // Each sees what the other writes.
            try unsafe withMapping(before.rawValue, 320 * 200) { old in
                unsafe old[63_999] = 0xff01_0203
                #expect(unsafe msync(old.baseAddress, 4 * old.count, MS_SYNC) == 0)
                try display.write("0/damage", "0 0 320 200\n")
                #expect(try display.comesTrue { try display.picture()[63_999] == 0xff01_0203 })
                unsafe words[63_998] = 0xff04_0506
                try display.write("0/damage", "0 0 320 200\n")
                #expect(try display.comesTrue { try display.picture()[63_998] == 0xff04_0506 })
                try display.write("0/text", "\u{1b}[H\u{1b}[41m ")
                let red = TerminalPalette.colors[1]
                #expect(try display.comesTrue { unsafe words[0] == red && old[0] == red })
            }
        }
    }

    @Test func windowsHaveTheirNewSize() throws {
        let display = try MountedDisplay()
        let window = try display.open("window/l/10/20/16/16/one")
        let names = try SystemCall.directoryNames("\(display.root)/windows")
        let path = "windows/\(try #require(names.first))"
        #expect(try display.size(path) == 16 * 16 * 4)
        let old = try display.open(path)
        try SystemCall.write(text: "S,64,64\n", to: window.rawValue)
        #expect(try display.size(path) == 64 * 64 * 4)
        let new = try display.open(path)
        try unsafe withMapping(new.rawValue, 64 * 64) { words in
            for index in words.indices { unsafe words[index] = 0xff40_8020 }
            try SystemCall.write(text: "Y\n", to: window.rawValue)
            #expect(try display.comesTrue { try display.picture()[83 * 320 + 73] == 0xff40_8020 })
        }
        try display.kill()
        try SystemCall.write(text: "S,8,8\n", to: window.rawValue)
        #expect(try display.size(path) == 8 * 8 * 4)
        var word: UInt32 = 1
        #expect(unsafe pread(old.rawValue, &word, 4, 0) == 4 && word == 0)
    }

    @Test func clipboardsHaveTheSizeOfWhatAViewerCut() throws {
        let display = try MountedDisplay()
        try display.write("0/clipboard", "short")
        #expect(try display.size("0/clipboard") == 5)
        let viewer = try MountedViewer(try SystemCall.connect(toPath: "\(display.folder)/vnc"))
        // The text that was there, which a new viewer is told.
        _ = try viewer.hear(13)
        try viewer.say([6, 0, 0, 0, 0, 0, 0, 12] + Array("longer text.".utf8))
        #expect(try display.comesTrue { try display.size("0/clipboard") == 12 })
        #expect(try display.contents("0/clipboard") == Array("longer text.".utf8))
        try display.write("0/clipboard", "x")
        #expect(try display.size("0/clipboard") == 1)
    }
}
