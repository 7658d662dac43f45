"""How the report page looks: at any width, in light and dark, on paper."""

STYLE = """\
:root {
  --page: #f6f7f9; --card: #ffffff; --text: #1c2128; --soft: #59636e; --line: #d8dde3; --link: #0b5cad;
  --own: #eaf3fc; --stage: #e6eaef; --bad: #b3261e; --bad-back: #fdecea; --warn: #7a5200; --warn-back: #fff4d9; --good: #146c2e; --good-back: #e4f5e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --card: #1b2027; --text: #e4e8ed; --soft: #9aa5b1; --line: #323a44; --link: #7cb7f5;
    --own: #1d2f42; --stage: #22262c; --bad: #ff9d94; --bad-back: #3d1f1d; --warn: #f3c766; --warn-back: #372c12; --good: #8bd99c; --good-back: #17321e;
  }
  figure img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1200px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 75ch; }
a { color: var(--link); }
.soft, figcaption, .note { color: var(--soft); font-size: .9rem; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 1rem 0; font-size: .95rem; }
.verdict { max-width: none; padding: 12px 16px; border-radius: 8px; font-weight: 600; border-left: 6px solid; margin: 1rem 0 .5rem; }
.verdict.failure { color: var(--bad); background: var(--bad-back); }
.verdict.warning { color: var(--warn); background: var(--warn-back); }
.verdict.note, .verdict.none { color: var(--good); background: var(--good-back); }
.findings { list-style: none; margin: 0; padding: 0; }
.findings li { padding: 7px 0; border-bottom: 1px solid var(--line); display: flex; gap: 12px; align-items: baseline; }
.level { flex: 0 0 5.2em; text-align: center; border-radius: 4px; font-size: .78rem; font-weight: 600; padding: 1px 0; }
.level.failure { color: var(--bad); background: var(--bad-back); }
.level.warning { color: var(--warn); background: var(--warn-back); }
.level.note { color: var(--soft); background: var(--page); border: 1px solid var(--line); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 1.25rem 0; padding: 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.numbers dt { color: var(--soft); font-size: .82rem; }
.numbers dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scroll {
  overflow-x: auto; width: fit-content; max-width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0 .75rem;
}
.scroll:has(.facts) { width: auto; }
table { border-collapse: collapse; font-size: .92rem; }
table.facts { width: 100%; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; font-variant-numeric: tabular-nums; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; min-width: 5.5em; }
thead th span { font-weight: 400; display: block; font-size: .85em; }
code { font-size: .92em; background: var(--page); border-radius: 4px; padding: 0 3px; }
th:first-child { text-align: left; }
tbody tr.group th { color: var(--soft); font-size: .85em; font-weight: 600; padding-top: 12px; max-width: none; }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--card); max-width: 18em; white-space: normal; }
tr.own > * { background: var(--own); }
tr.own > th { font-weight: 600; }
td.best { font-weight: 700; }
.tag { color: var(--soft); font-size: .8em; border: 1px solid var(--line); border-radius: 4px; padding: 0 4px; white-space: nowrap; }
td small, tbody th small { display: block; color: var(--soft); font-size: .8em; font-weight: 400; }
td.noise { color: var(--soft); }
td.broken { color: var(--bad); font-weight: 700; }
table.facts th, table.facts td { text-align: left; white-space: normal; vertical-align: top; }
table.facts th { color: var(--soft); width: 16em; position: static; }
table.facts th, table.facts td { overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figure .scroll { margin: 0 0 .4rem; }
figure img { display: block; max-width: 100%; height: auto; }
.viewer[data-state="still"] .live, .viewer[data-state="ready"] figure, .viewer[data-state="ready"] .message { display: none; }
.viewer .message { color: var(--warn); }
.stage { position: relative; background: var(--stage); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; touch-action: pan-y; cursor: grab; border-radius: 8px; }
.stage canvas:active { cursor: grabbing; }
.stage canvas:focus-visible { outline: 3px solid var(--link); outline-offset: -3px; }
.cells { display: grid; pointer-events: none; min-height: 120px; }
.cells div { position: relative; padding: 6px 8px; min-width: 0; }
.cells b, .cells span { position: relative; display: block; font-size: .85rem; line-height: 1.3; text-shadow: 0 0 3px var(--stage), 0 0 6px var(--stage); }
.cells span { font-size: .8rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.cells i { position: absolute; inset: 0; margin: auto; width: 100%; max-height: 100%; aspect-ratio: 1; }
.viewer .row { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin: .6rem 0; max-width: none; }
.viewer fieldset { display: flex; flex-wrap: wrap; gap: 4px 14px; border: 0; margin: 0; padding: 0; }
.viewer legend { float: left; padding: 0; margin-right: 12px; line-height: 32px; color: var(--soft); }
.viewer label { display: inline-flex; align-items: center; gap: 5px; min-height: 32px; min-width: 0; }
.viewer select { max-width: 100%; min-width: 0; }
.viewer button, .viewer select { font: inherit; min-height: 36px; padding: 2px 12px; color: var(--text); background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; }
.viewer button { min-width: 40px; cursor: pointer; }
.viewer [data-part="play"] { min-width: 76px; }
.viewer input[type="range"] { flex: 1 1 180px; min-width: 120px; accent-color: var(--link); }
.viewer input[type="checkbox"] { width: 18px; height: 18px; margin: 0; accent-color: var(--link); }
.where { flex: 0 1 15em; font-size: .9rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.bar { max-width: 420px; margin: .6rem 0 0; }
.ramp { height: 12px; border-radius: 3px; }
.ticks { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft); }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; margin: .75rem 0; }
details .scroll { border: 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 640px) {
  main { padding: 16px 12px 48px; }
  th, td { padding: 6px 8px; }
  tbody th { min-width: 7.5em; max-width: 9.5em; }
  .cells span { font-size: .72rem; white-space: nowrap; }
  table.facts th { width: 8.5em; }
  .findings li { flex-direction: column; gap: 2px; }
  .level { flex: none; padding: 1px 10px; }
  figure img { max-width: none; width: max(100%, .62 * var(--width)); }
}
@media print {
  nav, .viewer .live, .viewer .message { display: none !important; }
  .viewer figure { display: block !important; }
  figure, .scroll { break-inside: avoid; }
}
"""
