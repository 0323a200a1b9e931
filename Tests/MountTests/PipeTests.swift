import Glibc
import Platform
import TestSupport
import Testing

/// Pipes of a whole mount, whose callers wait.
@Suite(.enabled(if: mountObstacle == nil, mountObstacle))
struct PipeTests {
    private let mount: ToolMount

    init() throws {
        mount = try ToolMount()
        try mount.mount()
    }

    /// Runs a script with the program as $1 and the mount point as $2; its output.
    private func script(_ text: String) throws -> String {
        let result = try mount.host("/bin/bash", "-c", text, "bash", mount.programPath, mount.point)
        #expect(result.status == 0, "\(result.errors)")
        return result.text
    }

    @Test func theMaskCounts() throws {
        let modes = try script(
            """
            umask 077
            : > "$2/pipe/private"
            mkdir "$2/display/7"
            stat -c %a "$2/pipe/private" "$2/display/7"
            """)
        #expect(modes == "600\n700\n")
        try mount.unmount()
    }

    /// A caller that waited when the router died gives up when he gets a signal, and takes nothing that is meant for others.
    @Test(.enabled(if: routerObstacle == nil, routerObstacle), arguments: ["TERM", "KILL"])
    func whoWaitedWhenTheRouterDiedCanGiveUp(_ signal: String) throws {
        let read = try script(
            """
            set -e
            # Asleep in the kernel's FUSE, where it says so; else it has had time to get there.
            waits() {
                for i in $(seq 100); do
                    ! grep -q request_wait_answer "/proc/$1/wchan" 2>/dev/null || break
                    sleep 0.02
                done
            }
            : > "$2/pipe/busy"
            exec 5<> "$2/pipe/busy"
            dd if="$2/pipe/busy" of=first bs=1 count=1 status=none & reader=$!
            : > "$2/pipe/alone"
            dd if="$2/pipe/alone" of=second bs=1 count=1 status=none & opener=$!
            waits $reader
            waits $opener
            "$1" crash router --mount "$2" >/dev/null
            kill -\(signal) $reader $opener
            if wait $reader; then exit 1; fi
            if wait $opener; then exit 1; fi
            printf AB >&5
            dd bs=2 count=1 status=none <&5
            """)
        #expect(read == "AB")
        try mount.unmount()
    }

    /// Hundreds that wait keep nobody else from anything.
    @Test func manyCanWait() throws {
        let pipe = "\(mount.point)/pipe/many"
        let count = 700
        let holder = unsafe open(pipe, O_RDWR | O_CREAT, 0o600)
        try #require(holder >= 0)
        let done = Locked(0)
        let readers = try (0..<count).map { _ in
            try spawnThread(name: "reader", stackSize: 128 << 10) {
                var byte: UInt8 = 0
                if unsafe Glibc.read(holder, &byte, 1) == 1 { done.withLock { $0 += 1 } }
            }
        }
        // All of them have asked: the router has a thread for each.
        while try (mount.process("router")["threads"]?.integer ?? 0) < count { usleep(20_000) }
        #expect(try script("echo text > \"$2/file/name\" && cat \"$2/file/name\" && ls \"$2\" | wc -l") == "text\n7\n")
        var sent = 0
        while sent < count {
            let bytes = [UInt8](repeating: 7, count: count - sent)
            let part = unsafe Glibc.write(holder, bytes, bytes.count)
            try #require(part > 0)
            sent += part
        }
        for reader in readers { reader.join() }
        #expect(done.withLock { $0 } == count)
        close(holder)
        try mount.unmount()
    }

    /// Those who wait with room for large answers take it all. Nobody spins for that, who comes later gets his turn or can give up, and
    /// whoever ends the waits finds room.
    @Test func roomForAnswersIsNoTrap() throws {
        let text = try script(
            """
            set -e
            : > "$2/pipe/large"
            exec 5<> "$2/pipe/large"
            for i in $(seq 40); do
                dd if="$2/pipe/large" of=/dev/null bs=1M count=1 status=none & readers="$readers $!"
            done
            for i in $(seq 100); do
                waiting=0
                for reader in $readers; do
                    ! grep -q request_wait_answer "/proc/$reader/wchan" 2>/dev/null || waiting=$((waiting + 1))
                done
                [ $waiting -lt 40 ] || break
                sleep 0.02
            done
            requests() { "$1" status "$2" --json | tr ',' '\n' | sed -n 's/.*"requests"[^0-9]*//p' | tr '\n' ' '; }
            before=$(requests "$1" "$2")
            sleep 0.5
            [ -n "$before" ] && [ "$before" = "$(requests "$1" "$2")" ] || { echo "requests without end"; exit 1; }
            kill $readers
            for reader in $readers; do if wait $reader; then exit 1; fi; done
            printf x >&5
            dd bs=1 count=1 status=none <&5
            """)
        #expect(text == "x")
        try mount.unmount()
    }
}
