"""libp2p works without fastecdsa: each test starts a fresh interpreter, because imports stay."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

HIDE_FASTECDSA = """
import sys

class Hidden:  # as if it were not installed, even where it is
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fastecdsa":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
import importlib.util
real_find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name == "fastecdsa" else real_find_spec(name, package)
)
import hanse.network.transport
"""


def run_python(program: str, *flags: str) -> str:
    done = subprocess.run(
        [sys.executable, *flags, "-c", HIDE_FASTECDSA + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_libp2p_imports_only_after_the_stand_in_is_registered() -> None:
    without = run_python("""
        for name in [name for name in sys.modules if name.partition(".")[0] == "fastecdsa"]:
            del sys.modules[name]
        try:
            import libp2p
        except ModuleNotFoundError as error:
            print("refused", error)
    """)
    assert sys.platform == "win32" or without.startswith("refused")
    assert run_python("import libp2p; print(libp2p.__name__)") == "libp2p\n"


def test_two_hosts_with_ed25519_keys_connect_over_tcp_noise_and_yamux() -> None:
    printed = run_python("""
        import trio
        from libp2p import new_host
        from libp2p.crypto import ed25519, x25519
        from libp2p.custom_types import TProtocol
        from libp2p.peer.peerinfo import info_from_p2p_addr
        from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
        from libp2p.security.noise.transport import Transport as Noise
        from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
        from libp2p.stream_muxer.yamux.yamux import Yamux
        from multiaddr import Multiaddr

        ECHO = TProtocol("/hanse/test-echo/1")
        LOOPBACK = [Multiaddr("/ip4/127.0.0.1/tcp/0")]

        def make_host(seed):
            keys = ed25519.create_new_key_pair(seed)
            noise = Noise(keys, noise_privkey=x25519.create_new_key_pair().private_key)
            return new_host(
                key_pair=keys,
                listen_addrs=LOOPBACK,
                sec_opt={NOISE_ID: noise},
                muxer_opt={TProtocol(YAMUX_ID): Yamux},
            )

        async def echo(stream):
            await stream.write(await stream.read(5))
            await stream.close()

        async def main():
            listener, dialer = make_host(b"l" * 32), make_host(b"d" * 32)
            listener.set_stream_handler(ECHO, echo)
            with trio.fail_after(60):
                async with listener.run(listen_addrs=LOOPBACK), dialer.run(listen_addrs=LOOPBACK):
                    await dialer.connect(info_from_p2p_addr(listener.get_addrs()[0]))
                    stream = await dialer.new_stream(listener.get_id(), [ECHO])
                    await stream.write(b"hanse")
                    print((await stream.read(5)).decode())
                    await dialer.close()
                    await listener.close()

        trio.run(main)
    """)
    assert printed == "hanse\n"


USES = (
    "from libp2p.crypto.ecc import create_new_key_pair; create_new_key_pair('P-256')",
    "from libp2p.crypto.ecc import ECCPublicKey; ECCPublicKey.from_bytes(bytes(65), 'P-256')",
    "from fastecdsa.encoding.util import int_bytelen; int_bytelen(1)",
    "from fastecdsa.point import Point; Point(1, 2)",
    "from fastecdsa import curve; curve.P256.gx",
)


@pytest.mark.skipif(sys.platform == "win32", reason="libp2p does without fastecdsa there")
def test_every_use_of_the_stand_in_says_why_it_is_not_there() -> None:
    printed = run_python(f"""
        for use in {USES!r}:
            try:
                exec(use)
                print("used")
            except hanse.network.transport.standin.P256Unavailable as error:
                print(error)
    """).splitlines()
    assert len(printed) == len(USES)
    for said in printed:
        assert "P-256 keys are not supported" in said
        assert "fastecdsa" in said


def test_real_library_wins_where_it_is_installed() -> None:
    printed = run_python("""
        import types
        from hanse.network.transport import standin
        for name in [name for name in sys.modules if name.partition(".")[0] == "fastecdsa"]:
            del sys.modules[name]
        standin.find_spec = lambda name: "installed"
        print(standin.stand_in_for_fastecdsa(), "fastecdsa" in sys.modules)
    """)
    assert printed == "False False\n"
