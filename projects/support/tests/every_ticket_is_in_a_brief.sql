-- Each category that a ticket has must have a brief.
SELECT c.ticket_id, c.category
FROM {{ output('classify') }} AS c
LEFT JOIN {{ output('briefs') }} AS b USING (category)
WHERE b.category IS NULL
