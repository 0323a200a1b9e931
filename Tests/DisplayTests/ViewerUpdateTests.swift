import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// What viewers ask for (RFC 6143, 7.5.3):
/// - what changes is sent some day to who asks for it, whatever was asked for before;
/// - what was asked for as a whole is sent as a whole;
/// - what hasn't changed isn't sent again.
struct ViewerUpdateTests {
    private func incremental(_ x: UInt8, _ y: UInt8, _ width: UInt8, _ height: UInt8) -> [UInt8] {
        [3, 1, 0, x, 0, y, 0, width, 0, height]
    }

    private func whole(_ x: UInt8, _ y: UInt8, _ width: UInt8, _ height: UInt8) -> [UInt8] {
        [3, 0, 0, x, 0, y, 0, width, 0, height]
    }

    /// A viewer that has seen everything.
    private func viewer(_ harness: DisplayHarness) throws -> SteppedViewer {
        var viewer = SteppedViewer(harness)
        _ = try viewer.begin()
        _ = try viewer.say(whole(0, 0, 64, 48))
        return viewer
    }

    /// The rectangles of updates in the raw encoding.
    private func rectangles(_ bytes: [UInt8]) throws -> [Rectangle] {
        var found: [Rectangle] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            try #require(rest.count >= 4 && rest.removeFirst() == 0)
            rest = rest.dropFirst()
            let count = Int(rest.removeFirst()) << 8 | Int(rest.removeFirst())
            for _ in 0..<count {
                try #require(rest.count >= 12)
                let head = Array(rest.prefix(12)).map(Int.init)
                let part = Rectangle(
                    x: head[0] << 8 | head[1], y: head[2] << 8 | head[3], width: head[4] << 8 | head[5],
                    height: head[6] << 8 | head[7])
                found.append(part)
                rest = rest.dropFirst(12)
                if head[8...] == [0, 0, 0, 0] { rest = rest.dropFirst(4 * part.width * part.height) }
            }
        }
        return found
    }

    private func change(_ harness: DisplayHarness, _ x: Int, _ y: Int) throws {
        try harness.write(try harness.find("0/fb"), [1, 2, 3, 255], at: UInt64(4 * (y * 64 + x)))
    }

    private func pixel(_ x: Int, _ y: Int) -> Rectangle { Rectangle(x: x, y: y, width: 1, height: 1) }

    @Test(arguments: [false, true]) func whatIsOutsideOfARequestIsKept(_ isWhole: Bool) throws {
        let harness = try DisplayHarness()
        var viewer = try viewer(harness)
        try change(harness, 5, 5)
        try change(harness, 40, 30)
        let part = try viewer.say(isWhole ? whole(0, 0, 20, 20) : incremental(0, 0, 20, 20))
        #expect(try rectangles(part) == [isWhole ? Rectangle(width: 20, height: 20) : pixel(5, 5)])
        #expect(try rectangles(try viewer.say(incremental(0, 0, 64, 48))) == [pixel(40, 30)])
        #expect(try viewer.say(incremental(0, 0, 64, 48)) == [])
    }

    /// A change that is partly inside is sent in two parts.
    @Test func changesAreCutAtTheRequest() throws {
        let harness = try DisplayHarness()
        var viewer = try viewer(harness)
        try harness.write("0/damage", "10 10 20 20\n")
        #expect(
            try rectangles(try viewer.say(incremental(0, 0, 64, 15))) == [Rectangle(x: 10, y: 10, width: 20, height: 5)]
        )
        #expect(
            try rectangles(try viewer.say(incremental(0, 0, 64, 48)))
                == [Rectangle(x: 10, y: 15, width: 20, height: 15)])
    }

    /// Both requests are there before the answer to the first can go.
    @Test(arguments: [false, true]) func requestsBeforeTheAnswerAreMerged(_ wholeComesFirst: Bool) throws {
        let harness = try DisplayHarness()
        var viewer = try viewer(harness)
        let (one, other) = (whole(0, 0, 10, 10), incremental(0, 0, 64, 48))
        let answer = try viewer.say(wholeComesFirst ? one + other : other + one)
        #expect(try rectangles(answer) == [Rectangle(width: 10, height: 10)])
        // They are answered, both.
        try change(harness, 20, 20)
        #expect(try viewer.take() == [])
        #expect(try rectangles(try viewer.say(incremental(0, 0, 64, 48))) == [pixel(20, 20)])
    }

    /// Requests for parts that wait are both answered.
    @Test func waitingRequestsAreMerged() throws {
        let harness = try DisplayHarness()
        var viewer = try viewer(harness)
        #expect(try viewer.say(incremental(0, 0, 10, 10)) == [])
        #expect(try viewer.say(incremental(30, 30, 10, 10)) == [])
        try change(harness, 5, 5)
        #expect(try rectangles(try viewer.take()) == [pixel(5, 5)])
        // The widest rectangles that there are, in a session that goes on.
        let far: [UInt8] = [3, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
        #expect(try viewer.say(far + incremental(0, 0, 64, 48)) == [])
        try change(harness, 6, 6)
        #expect(try rectangles(try viewer.take()) == [pixel(6, 6)])
    }

    /// Another size is shown once to who can't be told of it; who learns to be told is told.
    @Test(arguments: ["32x16", "100x100"]) func anotherSizeIsShownOnce(_ size: String) throws {
        let harness = try DisplayHarness()
        var viewer = try viewer(harness)
        try harness.write("0/size", size)
        #expect(try rectangles(try viewer.say(incremental(0, 0, 64, 48))) == [Rectangle(width: 64, height: 48)])
        for _ in 0..<3 { #expect(try viewer.say(incremental(0, 0, 64, 48)) == []) }
        try change(harness, 3, 2)
        #expect(try rectangles(try viewer.take()).allSatisfy { !$0.contains(63, 47) })
        _ = try viewer.say([2, 0, 0, 1, 0xff, 0xff, 0xff, 0x21])
        let told = try rectangles(try viewer.say(incremental(0, 0, 64, 48)))
        #expect(told.map { "\($0.width)x\($0.height)" } == [size])
        #expect(viewer.session.size.text == size)
    }

    @Test func rectanglesAreSubtracted() {
        let whole = Rectangle(x: 2, y: 3, width: 7, height: 6)
        for other in [
            Rectangle(x: 4, y: 5, width: 2, height: 2), Rectangle(x: 0, y: 0, width: 4, height: 20), whole,
            Rectangle(x: 20, y: 0, width: 4, height: 4), Rectangle(width: 0, height: 0),
        ] {
            let parts = whole.subtracting(other)
            for y in 0..<12 {
                for x in 0..<12 {
                    let count = parts.filter { $0.contains(x, y) }.count
                    #expect(count == (whole.contains(x, y) && !other.contains(x, y) ? 1 : 0))
                }
            }
        }
    }
}
