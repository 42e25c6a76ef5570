"""How the page of ``--format html`` looks: in light and dark, on a narrow screen and on paper.

Colours have a contrast of at least 4.5 to 1 with what they stand on (WCAG 2.1, AA), in both schemes. The numbers of
lines are generated content: they are neither selected nor copied with the log.
"""

from __future__ import annotations

STYLE = r"""
:root { color-scheme: light dark; --page: #fff; --raised: #f4f6f8; --edge: #d5dae0; --text: #1b2127; --dim: #5c6670;
  --link: #0b57b0; --frame: #6b2fa8; --title: #a5121b; --title-page: #fdf0f0; --target: #fff3c4; --missed: #8a4b00 }
@media (prefers-color-scheme: dark) {
  :root { --page: #111519; --raised: #1a2027; --edge: #333c46; --text: #dde3ea; --dim: #949fab;
    --link: #7db8ff; --frame: #cba6f7; --title: #ff8f8f; --title-page: #2a1719; --target: #3b3413; --missed: #f0b35c } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif }
main { display: flex; flex-direction: column; reading-flow: flex-visual }
#report { order: -1 }
header, #report, footer { padding: 0 1.5rem }
header { padding-top: 1.2rem }
h1 { margin: 0; font-size: 1.35rem; overflow-wrap: anywhere }
h2 { margin: 1.2rem 0 .4rem; font-size: 1rem }
h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere }
a { color: var(--link); text-decoration: none }
a:hover { text-decoration: underline }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 1px }
header p { display: none }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: .1rem 1rem; margin: .3rem 0 }
dt { color: var(--dim) }
dd { margin: 0; overflow-wrap: anywhere }
code, .log { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 13px }
.crash { margin: .6rem 0; padding: .7rem 1rem; border: 1px solid var(--edge); border-left: 4px solid var(--title);
  border-radius: 4px; background: var(--raised) }
.crash h3 .dim { font-weight: normal; font-size: 13px; white-space: nowrap }
.crash ~ .counts { padding: 0 1.25rem }
.dim { color: var(--dim) }
.log { margin: 1rem 0; padding: .6rem 0; border: solid var(--edge); border-width: 1px 0; counter-reset: line;
  line-height: 1.45; tab-size: 8 }
.log:only-of-type > h2 { display: none }
.log > h2 { margin: 0 0 .4rem; padding: 0 1.5rem; font-family: system-ui, sans-serif }
.log > div { position: relative; padding: 0 1rem 0 calc(4.4rem + 2ch); text-indent: -2ch; min-height: 1.45em;
  white-space: pre-wrap; overflow-wrap: anywhere; counter-increment: line }
.log > div::before { content: counter(line); position: absolute; left: 0; width: 3.4rem; text-align: right;
  text-indent: 0; color: var(--dim); font-weight: normal; user-select: none }
.log > div:target { background: var(--target) }
.number { position: absolute; left: 0; width: 3.6rem; height: 1.45em; border-right: 2px solid transparent;
  user-select: none }
.number:hover { border-color: var(--link) }
.stamp, .registers, .code, .modules, .marker, .context, .stale { color: var(--dim) }
.title { color: var(--title); background: var(--title-page); font-weight: 600 }
.title .stamp { font-weight: normal }
.log b { color: var(--frame); font-weight: 600 }
.log .stale b { color: var(--dim) }
.log i { color: var(--missed) }
.log abbr { text-decoration: underline dotted var(--missed); text-underline-offset: 3px; cursor: help }
.place { color: var(--link) }
.stale .place, .stale a { color: var(--dim) }
details, details[open]::details-content { display: inline }
details::details-content { display: inline-block }
summary { display: inline; list-style: none; cursor: pointer; user-select: none }
summary::-webkit-details-marker { display: none }
summary::before { content: "\25B8\2009" attr(data-more); margin-left: .6ch; padding: 0 .5ch;
  border: 1px solid var(--edge); border-radius: 3px; background: var(--raised); color: var(--dim); font-size: 11px }
details[open] > summary::before { content: "\25BE" }
summary:hover::before { border-color: var(--link); color: var(--link) }
details > span::before { content: "\A        "; white-space: pre }
footer { padding-bottom: 2rem; color: var(--dim); font-size: 13px }
@media (max-width: 45rem) {
  header, #report, footer, .log > h2 { padding-left: .8rem; padding-right: .8rem }
  .log { font-size: 12px }
  .log > div { padding: 0 .6rem 0 calc(2.9rem + 2ch) }
  .log > div::before { width: 2.4rem }
  .number { width: 2.6rem }
  .crash ~ .counts { padding: 0 }
  dl { grid-template-columns: 1fr }
  dd { margin-bottom: .3rem } }
@media print {
  :root { color-scheme: light; --page: #fff; --raised: #fff; --edge: #bbb; --text: #000; --dim: #555; --link: #000;
    --frame: #000; --title: #000; --title-page: #fff; --target: #fff; --missed: #000 }
  body { font-size: 10pt }
  .log, code { font-size: 7.5pt }
  .log > div, .crash { break-inside: avoid }
  .log > div { padding-right: 0 }
  details::details-content { display: inline; content-visibility: visible }
  summary { display: none } }
"""
