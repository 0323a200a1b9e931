/// The page that shows a display in a browser: a viewer of its own over a web socket, in one file.
enum ViewerPage {
    static let html = """
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <title>Saltbridge display</title>
        <style>
        body { margin: 0; background: #1c1e22; color: #d0d0d0; font: 14px sans-serif; }
        canvas { display: block; margin: 0 auto; outline: none; cursor: default; }
        p { margin: 6px; text-align: center; height: 1em; }
        </style>
        <p id="state"></p>
        <canvas id="screen" tabindex="0"></canvas>
        <script>
        "use strict";
        const canvas = document.getElementById("screen"), context = canvas.getContext("2d");
        const state = document.getElementById("state");
        let socket, input, step, need;

        function connect() {
          state.textContent = "connecting";
          socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, ""), "binary");
          socket.binaryType = "arraybuffer";
          input = new Uint8Array(0);
          step = version; need = 12;
          socket.onmessage = event => take(new Uint8Array(event.data));
          socket.onclose = () => { state.textContent = "not connected"; setTimeout(connect, 500); };
        }
        function take(bytes) {
          const all = new Uint8Array(input.length + bytes.length);
          all.set(input); all.set(bytes, input.length); input = all;
          while (input.length >= need) {
            const part = input.slice(0, need);
            input = input.slice(need);
            step(part);
          }
        }
        const number16 = (bytes, at) => bytes[at] << 8 | bytes[at + 1];
        const number32 = (bytes, at) => number16(bytes, at) * 65536 + number16(bytes, at + 2);
        const send = (...bytes) => socket.readyState === 1 && socket.send(new Uint8Array(bytes));
        const then = (count, next) => { need = count; step = next; };
        function version() { socket.send(new TextEncoder().encode("RFB 003.008\\n")); then(1, types); }
        function types(bytes) { then(bytes[0], list => {
          if (!list.includes(1)) { state.textContent = "a password is needed: use a VNC viewer"; return; }
          send(1); then(4, () => { send(1); then(24, start); });
        }); }
        function start(bytes) {
          resize(number16(bytes, 0), number16(bytes, 2));
          then(number32(bytes, 20), name => {
            document.title = new TextDecoder().decode(name);
            send(2, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 33);
            ask(0); then(1, message); state.textContent = "";
          });
        }
        function resize(width, height) { canvas.width = width; canvas.height = height; }
        function ask(incremental) {
          const { width, height } = canvas;
          send(3, incremental, 0, 0, 0, 0, width >> 8, width & 255, height >> 8, height & 255);
        }
        function message(bytes) {
          if (bytes[0] === 0) then(3, head => rectangles(number16(head, 1)));
          else if (bytes[0] === 3) then(7, head => then(number32(head, 3), () => then(1, message)));
          else then(1, message);
        }
        function rectangles(count) {
          if (count === 0) { ask(1); then(1, message); return; }
          then(12, head => {
            const x = number16(head, 0), y = number16(head, 2), width = number16(head, 4), height = number16(head, 6);
            if (number32(head, 8) > 0x7fffffff) { resize(width, height); ask(0); then(1, message); return; }
            then(width * height * 4, pixels => {
              const image = context.createImageData(width, height), target = image.data;
              for (let index = 0; index < pixels.length; index += 4) {
                target[index] = pixels[index + 2]; target[index + 1] = pixels[index + 1];
                target[index + 2] = pixels[index]; target[index + 3] = 255;
              }
              context.putImageData(image, x, y);
              rectangles(count - 1);
            });
          });
        }
        const named = { Backspace: 0xff08, Tab: 0xff09, Enter: 0xff0d, Escape: 0xff1b, Home: 0xff50, ArrowLeft: 0xff51,
          ArrowUp: 0xff52, ArrowRight: 0xff53, ArrowDown: 0xff54, PageUp: 0xff55, PageDown: 0xff56, End: 0xff57,
          Insert: 0xff63, Delete: 0xffff, Shift: 0xffe1, Control: 0xffe3, Alt: 0xffe9, Meta: 0xffeb };
        function key(event) {
          let symbol = named[event.key];
          if (/^F[0-9]+$/.test(event.key)) symbol = 0xffbd + Number(event.key.slice(1));
          if (!symbol && [...event.key].length === 1) {
            const code = event.key.codePointAt(0);
            symbol = code < 256 ? code : 0x1000000 + code;
          }
          if (!symbol) return;
          send(4, event.type === "keydown" ? 1 : 0, 0, 0, symbol >>> 24, symbol >> 16 & 255, symbol >> 8 & 255, symbol & 255);
          event.preventDefault();
        }
        let mask = 0;
        function pointer(event, extra) {
          const box = canvas.getBoundingClientRect();
          const x = Math.max(0, Math.round(event.clientX - box.left)), y = Math.max(0, Math.round(event.clientY - box.top));
          mask = event.buttons & 1 | (event.buttons & 4) >> 1 | (event.buttons & 2) << 1;
          for (const bits of extra ? [mask | extra, mask] : [mask]) send(5, bits, x >> 8, x & 255, y >> 8, y & 255);
        }
        addEventListener("keydown", key);
        addEventListener("keyup", key);
        for (const kind of ["mousemove", "mousedown", "mouseup"]) canvas.addEventListener(kind, event => pointer(event));
        canvas.addEventListener("wheel", event => { pointer(event, event.deltaY < 0 ? 8 : 16); event.preventDefault(); });
        canvas.addEventListener("contextmenu", event => event.preventDefault());
        connect();
        </script>
        </html>

        """
}
