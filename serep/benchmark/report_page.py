"""The report page as a Jinja template: a module, not a data file, so that the pipeline sees its edits and a package carries it."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ content.title }}</title>
<style>
:root {
  --page: #f6f7f9; --card: #ffffff; --text: #1c2128; --soft: #59636e; --line: #d8dde3; --link: #0b5cad;
  --own: #eaf3fc; --bad: #b3261e; --bad-back: #fdecea; --warn: #7a5200; --warn-back: #fff4d9; --good: #146c2e; --good-back: #e4f5e8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151a; --card: #1b2027; --text: #e4e8ed; --soft: #9aa5b1; --line: #323a44; --link: #7cb7f5;
    --own: #1d2f42; --bad: #ff9d94; --bad-back: #3d1f1d; --warn: #f3c766; --warn-back: #372c12; --good: #8bd99c; --good-back: #17321e;
  }
  figure img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
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
.numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px; margin: 1.25rem 0; padding: 0; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.numbers dt { color: var(--soft); font-size: .82rem; }
.numbers dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0 .75rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; font-variant-numeric: tabular-nums; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; min-width: 5.5em; }
thead th span { font-weight: 400; display: block; font-size: .85em; }
th:first-child { text-align: left; }
tbody tr.group th { color: var(--soft); font-size: .85em; font-weight: 600; padding-top: 12px; max-width: none; }
tbody th { font-weight: 400; position: sticky; left: 0; background: var(--card); max-width: 18em; white-space: normal; }
tr.own > * { background: var(--own); }
tr.own > th { font-weight: 600; }
td.best { font-weight: 700; }
td.broken { color: var(--bad); font-weight: 700; }
table.facts th, table.facts td { text-align: left; white-space: normal; vertical-align: top; }
table.facts th { color: var(--soft); width: 16em; position: static; }
table.facts td { overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figure .scroll { margin: 0 0 .4rem; width: fit-content; max-width: 100%; }
figure img { display: block; max-width: 100%; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; margin: .75rem 0; }
details .scroll { border: 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 640px) {
  main { padding: 16px 12px 48px; }
  th, td { padding: 6px 8px; }
  tbody th { max-width: 9.5em; }
  table.facts th { width: 8.5em; }
  .findings li { flex-direction: column; gap: 2px; }
  .level { flex: none; padding: 1px 10px; }
  figure img { max-width: none; width: max(100%, 600px); }
}
@media print { nav { display: none; } figure, .scroll { break-inside: avoid; } }
</style>
</head>
<body>
{% macro facts(rows) %}
<div class="scroll"><table class="facts"><tbody>
{% for name, value in rows %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro score_table(table) %}
<h3>{{ table.title }}</h3>
{% if table.note %}<p class="note">{{ table.note }}</p>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.title }}"><table>
<thead><tr><th scope="col">{{ table.first_heading }}</th>
{% for column in table.columns %}
<th scope="col">{{ column.name }}<span>{{ column.unit }} {{ {"low": "↓", "high": "↑", "": ""}[column.better] }}</span></th>
{% endfor %}
</tr></thead>
<tbody>
{% for group, rows in table.groups() %}
{% if group %}
<tr class="group"><th colspan="{{ table.columns | length + 1 }}" scope="rowgroup">{{ group }}</th></tr>
{% endif %}
{% for row in rows %}
<tr{% if row.role %} class="{{ row.role }}"{% endif %}><th scope="row">{{ row.label }}</th>
{% for value in row.values %}
{% set text = format_cell(value, table.columns[loop.index0]) %}
{% set best = table.best(loop.index0, group) %}
{% set broken = text in ("NaN", "+inf", "-inf") %}
{% set first = row.role and best is not none and value == best %}
<td{% if broken %} class="broken"{% elif first %} class="best"{% endif %}>{{ text }}</td>
{% endfor %}
</tr>
{% endfor %}
{% endfor %}
</tbody></table></div>
{% endmacro %}
<main>
<h1>{{ content.title }}</h1>
{% if content.date %}<p class="soft">{{ content.date }}</p>{% endif %}
<p>{{ content.introduction }}</p>
<p class="verdict {{ worst }}">{{ verdict }}</p>
{% if findings %}
<ul class="findings">
{% for finding in findings %}
<li>
<span class="level {{ finding.level }}">{{ finding.level }}</span>
<span>{{ finding.text }}{% if finding.where %} <a href="#{{ finding.where }}">show</a>{% endif %}</span>
</li>
{% endfor %}
</ul>
{% endif %}
{% if content.key_numbers %}
<dl class="numbers">
{% for name, value in content.key_numbers %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{% endfor %}
</dl>
{% endif %}
<nav aria-label="Sections">
{% for anchor, heading in headings.items() %}
<a href="#{{ anchor }}">{{ heading }}</a>
{% endfor %}
</nav>
{% for anchor, section in sections.items() %}
<section>
<h2 id="{{ anchor }}">{{ headings[anchor] }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if not section.tables and not section.figures %}<p class="note">Nothing was handed to the report.</p>{% endif %}
{% for table in section.tables %}
{{ score_table(table) }}
{% endfor %}
{% for figure in section.figures %}
<figure>
<div class="scroll" tabindex="0"><img src="{{ figure.source }}" alt="{{ figure.alternative }}"></div>
<figcaption>{{ figure.caption }}</figcaption>
</figure>
{% endfor %}
</section>
{% endfor %}
<section>
<h2 id="quarantine">{{ headings.quarantine }}</h2>
{% if content.quarantined %}
<p class="note">Meshes that were read but not used, each with its reason.</p>
<div class="scroll" tabindex="0"><table class="facts">
<thead><tr><th scope="col">Subject</th><th scope="col">File</th><th scope="col">Reason</th></tr></thead>
<tbody>
{% for subject, file, reason in content.quarantined %}
<tr><th scope="row">{{ subject }}</th><td>{{ file }}</td><td>{{ reason }}</td></tr>
{% endfor %}
</tbody></table></div>
{% else %}
<p class="note">None: every mesh that was read was used.</p>
{% endif %}
</section>
<section>
<h2 id="provenance">{{ headings.provenance }}</h2>
{{ facts(content.provenance) }}
{% for title, rows in folded %}
{% if rows %}
<details{{ " open" if title == "Licences" }}><summary>{{ title }} ({{ rows | length }})</summary>
{{ facts(rows) }}
</details>
{% endif %}
{% endfor %}
</section>
</main>
</body>
</html>
"""
